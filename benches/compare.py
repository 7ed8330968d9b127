#!/usr/bin/env python3
"""Load on several proxies in turn, on this machine, in one run.

The proxy has one core and one worker; the application behind it (nginx with small files) and the load (wrk) share the
other. The figure is the proxy's own processor time a request, user and system, as the kernel counts it; what matters is
its ratio to a peer of the same run. Rounds alternate between the peers, so that a machine whose speed drifts is fair to
all; medians are printed.

    benches/run.sh [--seconds 5] [--rounds 5] [--only outboard,floor] [--cases pass,pass10k]
"""
import argparse
import os
import re
import signal
import socket
import statistics
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TICK = os.sysconf("SC_CLK_TCK")
CASES = {"pass": ("/small", 759), "pass10k": ("/payments", 9930)}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"nothing listens on {port}")


def write(path, text):
    with open(path, "w") as f:
        f.write(text)
    return path


def application(work, port):
    """nginx that answers JSON of two sizes from files."""
    www = os.path.join(work, "www")
    os.makedirs(www)
    for name, size in CASES.values():
        write(os.path.join(www, name.strip("/")), ('{"object":"payment","amount":4200}' * (size // 34 + 1))[:size])
    os.chmod(work, 0o755)
    return write(os.path.join(work, "app.conf"), f"""
        worker_processes 1; daemon off; pid {work}/app.pid; error_log {work}/app.err warn;
        events {{ worker_connections 4096; }}
        http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600; default_type application/json;
          open_file_cache max=100; tcp_nodelay on;
          server {{ listen 127.0.0.1:{port}; root {www}; }} }}""")


def peers(work, app):
    """name → (command, port)"""
    port = {name: free_port() for name in ("outboard", "policies", "floor", "nginx", "haproxy", "admin")}
    nginx = write(os.path.join(work, "nginx.conf"), f"""
        worker_processes 1; daemon off; pid {work}/nginx.pid; error_log {work}/nginx.err warn;
        events {{ worker_connections 4096; }}
        http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600; tcp_nodelay on;
          upstream app {{ server 127.0.0.1:{app}; keepalive 256; keepalive_requests 100000000; }}
          proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffers 16 32k; proxy_buffer_size 32k;
          server {{ listen 127.0.0.1:{port["nginx"]}; location / {{ proxy_pass http://app; }} }} }}""")
    haproxy = write(os.path.join(work, "haproxy.cfg"), f"""
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 15s
  http-reuse always
frontend f
  bind 127.0.0.1:{port["haproxy"]}
  default_backend b
backend b
  server app 127.0.0.1:{app}
""")
    common = f"""
runtime: {{ threads: 1 }}
admin: {{ address: "127.0.0.1:{port["admin"]}" }}
logging: {{ level: warn, access: {{ enabled: false }} }}
"""
    ours = write(os.path.join(work, "outboard.yaml"), common + f"""
listeners: [ {{ name: inbound, address: "127.0.0.1:{port["outboard"]}", direction: inbound }} ]
upstreams: {{ app: {{ endpoints: ["127.0.0.1:{app}"] }} }}
defaults: {{ retry: off }}
""")
    # The same with every policy of admission and resilience on, and nothing to refuse.
    policies = write(os.path.join(work, "policies.yaml"), common + f"""
listeners: [ {{ name: inbound, address: "127.0.0.1:{port["policies"]}", direction: inbound }} ]
upstreams:
  app:
    endpoints: ["127.0.0.1:{app}"]
    queue: {{ max_concurrent: 1000, fair_by: [client_ip] }}
    circuit_breaker: {{}}
    outlier_detection: {{}}
defaults:
  rate_limits: [ {{ name: per-client, key: [client_ip], limit: 100000000/1s }} ]
  circuit_breaker: {{}}
  max_concurrent: 900
""")
    binary = f"{ROOT}/target/release/outboard"
    return {
        "outboard": ([binary, "run", "--config", ours], port["outboard"]),
        "policies": ([binary, "run", "--config", policies], port["policies"]),
        "floor": ([f"{ROOT}/target/floor/release/floor", str(port["floor"]), str(app)], port["floor"]),
        "nginx": (["nginx", "-c", nginx, "-p", work], port["nginx"]),
        "haproxy": (["haproxy", "-db", "-f", haproxy], port["haproxy"]),
    }


def family(pid):
    """A process and its children."""
    found, todo = [pid], [pid]
    while todo:
        p = todo.pop()
        try:
            for t in os.listdir(f"/proc/{p}/task"):
                with open(f"/proc/{p}/task/{t}/children") as f:
                    kids = [int(k) for k in f.read().split()]
                found += kids
                todo += kids
        except OSError:
            pass
    return found


def cpu(pids):
    """Seconds of user and system time."""
    user = system = 0
    for p in pids:
        try:
            with open(f"/proc/{p}/stat") as f:
                fields = f.read().rsplit(")", 1)[1].split()
            user += int(fields[11])
            system += int(fields[12])
        except OSError:
            pass
    return user / TICK, system / TICK


def pss(pids):
    """Proportional resident memory, MB."""
    total = 0
    for p in pids:
        try:
            with open(f"/proc/{p}/smaps_rollup") as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        except OSError:
            pass
    return total / 1024


def wrk(url, seconds, connections):
    command = ["taskset", "-c", "0", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    scale = {"us": 0.001, "ms": 1, "s": 1000}
    value, unit = re.search(r"(?m)^\s+99%\s+([\d.]+)(us|ms|s)", out).groups()
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    errors = re.search(r"Socket errors: (.*)", out)
    return {
        "n": int(re.search(r"(\d+) requests in", out).group(1)),
        "p99": float(value) * scale[unit],
        "bad": int(bad.group(1)) if bad else 0,
        "errors": errors.group(1) if errors else "",
    }


def measure(command, port, path, options):
    process = subprocess.Popen(["taskset", "-c", "1"] + command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)
    try:
        wait_for(port)
        url = f"http://127.0.0.1:{port}{path}"
        wrk(url, 1, options.connections)
        pids = family(process.pid)
        user, system = cpu(pids)
        result = wrk(url, options.seconds, options.connections)
        user, system = cpu(pids)[0] - user, cpu(pids)[1] - system
        result.update(user=user / result["n"] * 1e6, system=system / result["n"] * 1e6, pss=pss(pids))
        return result
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--seconds", type=int, default=5)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--connections", type=int, default=64)
    arguments.add_argument("--cases", default=",".join(CASES))
    arguments.add_argument("--only", default="outboard,policies,floor,nginx,haproxy")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="outboard-bench-") as work:
        app = free_port()
        behind = subprocess.Popen(["taskset", "-c", "0", "nginx", "-c", application(work, app), "-p", work],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        rows = {}
        try:
            wait_for(app)
            for _ in range(options.rounds):
                for case in options.cases.split(","):
                    for name, (command, port) in peers(work, app).items():
                        if name in options.only.split(","):
                            result = measure(command, port, CASES[case][0], options)
                            rows.setdefault(case, {}).setdefault(name, []).append(result)
        finally:
            behind.terminate()
            behind.wait()
    show(rows, options)


def show(rows, options):
    median = lambda results, key: statistics.median(r[key] for r in results)
    print(f"{options.rounds} rounds of {options.seconds} s, {options.connections} connections, medians")
    print(f"{'case':8} {'proxy':9} {'cpu us':>7} {'user':>6} {'system':>6} {'/floor':>7} {'p99 ms':>7} {'PSS MB':>7}  bad")
    for case, results in rows.items():
        total = lambda rs: statistics.median(r["user"] + r["system"] for r in rs)
        floor = total(results["floor"]) if "floor" in results else float("nan")
        for name, rs in sorted(results.items(), key=lambda item: total(item[1])):
            print(f"{case:8} {name:9} {total(rs):7.2f} {median(rs, 'user'):6.2f} {median(rs, 'system'):6.2f} "
                  f"{total(rs) / floor:7.2f} {median(rs, 'p99'):7.2f} {median(rs, 'pss'):7.1f}  "
                  f"{sum(r['bad'] for r in rs)} {rs[0]['errors']}")
        if "policies" in results and "outboard" in results:
            cost = lambda r: r["user"] + r["system"]
            ratios = sorted(cost(on) / cost(off) for on, off in zip(results["policies"], results["outboard"]))
            print(f"{case:8} policies to none, paired: median {statistics.median(ratios):.3f}, "
                  f"quartiles {ratios[len(ratios) // 4]:.3f} to {ratios[-1 - len(ratios) // 4]:.3f}")


if __name__ == "__main__":
    main()
