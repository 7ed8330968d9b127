#!/usr/bin/env bash
# Measures outboard beside nginx, HAProxy and bare pingora-proxy on this machine, in one run (benches/README.md).
# Needs Debian's nginx-light, haproxy, wrk and python3, and installs what is missing. Arguments go to compare.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PATH:/usr/sbin:$HOME/.cargo/bin"

missing=()
command -v nginx >/dev/null || missing+=(nginx-light)
command -v haproxy >/dev/null || missing+=(haproxy)
command -v wrk >/dev/null || missing+=(wrk)
command -v python3 >/dev/null || missing+=(python3)
if [ ${#missing[@]} -gt 0 ]; then
	command -v apt-get >/dev/null || { echo "bench: please install ${missing[*]}" >&2; exit 1; }
	as_root=()
	[ "$(id -u)" = 0 ] || as_root=(sudo)
	"${as_root[@]}" apt-get update -qq
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
cargo build --locked --release --bin outboard
cargo build --release --manifest-path benches/floor/Cargo.toml --target-dir target/floor
exec python3 benches/compare.py "$@"
