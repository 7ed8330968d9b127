#!/usr/bin/env python3
"""What an idempotency key costs: keyed POSTs beside unkeyed ones, and replays, on this machine, in one run.

The proxy has one core and one worker; the application (nginx) and the load share the other. Processor time is the proxy's own, user
and system, all its threads; rounds alternate between the cases. The records are on the disk of --folder, whose fdatasync of 4 KiB
is measured in the same run, before each round on one connection.

The load of 64 connections is wrk's. On one connection a client of ours sends an unkeyed and a keyed request by turns and times each: both
meet the same machine, and a percentile is one of the requests that were sent. (wrk adds those that it would have sent while one took long,
at the mean interval of the run: of 700 us apart, one pause of 5 ms counts as six slow requests.)

    cargo build --release && benches/keyed.py [--seconds 4] [--rounds 5] [--folder DIR]
"""
import argparse
import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

from compare import ROOT, TICK, free_port, wait_for, write

# A sync from a core that does not take the disk's interrupts waits for another one to be woken: see /proc/interrupts.
PROXY_CORE, LOAD_CORE = "1", "0"
ANSWER = '{"id":"pay_0123456789abcdef","object":"payment","amount":1000,"currency":"EUR","status":"captured"}'
BODY = '{"amount":1000,"currency":"EUR","card":"tok_1234","description":"' + "x" * 200 + '"}'
# Each connection has keys of its own; `replay` sends the same 100 again and again; `paced` waits 20 ms on average before each request,
# so that no core is full and what is measured is not the wait for one.
LOAD = """
local number = 0
function setup(thread) thread:set("number", number); number = number + 1 end
function init(args)
  path, replay = args[1], args[3] == "replay"
  if args[3] == "paced" then delay = function() return math.random(0, 40) end end
  base, sent = args[2] .. "-" .. number .. "-", 0
  if replay then base = args[2] .. "-" end
  body = 'BODY'
end
function request()
  sent = sent + 1
  local key = base .. (replay and sent % 100 or sent)
  local head = { ["Content-Type"] = "application/json", ["Authorization"] = "Bearer abc", ["Idempotency-Key"] = key }
  return wrk.format("POST", path, head, body)
end
""".replace("BODY", BODY)


@contextlib.contextmanager
def on_core(core):
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {int(core)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@on_core(PROXY_CORE)
def fdatasync(folder, times, apart=0.0):
    """Microseconds that each write of 4 KiB and its sync took from the proxy's core, so many seconds apart, in a file that has its size."""
    path = os.path.join(folder, "sync")
    fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    os.write(fd, bytes(1 << 20))
    os.fsync(fd)
    took = []
    for n in range(times):
        data = os.urandom(4096)
        end = time.perf_counter() + apart
        while time.perf_counter() < end:
            pass
        begun = time.perf_counter()
        os.pwrite(fd, data, n % 256 * 4096)
        os.fdatasync(fd)
        took.append((time.perf_counter() - begun) * 1e6)
    os.close(fd)
    return took


def percentile(values, percent):
    return sorted(values)[len(values) * percent // 100]


class Bench:
    def __init__(self, work, folder):
        self.work, self.folder = work, folder
        self.app, self.port, self.admin = free_port(), free_port(), free_port()
        self.lua = write(f"{work}/load.lua", LOAD)
        os.chmod(work, 0o755)
        write(f"{work}/app.conf", f"""
            worker_processes 1; daemon off; pid {work}/app.pid; error_log {work}/app.err warn;
            events {{ worker_connections 4096; }}
            http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600; tcp_nodelay on;
              server {{ listen 127.0.0.1:{self.app} backlog=4096;
                location / {{ default_type application/json; return 201 '{ANSWER}'; }} }} }}""")
        write(f"{work}/outboard.yaml", f"""
runtime: {{ threads: 1 }}
logging: {{ access: {{ enabled: false }} }}
listeners: [{{ name: inbound, address: "127.0.0.1:{self.port}" }}]
admin: {{ address: "127.0.0.1:{self.admin}" }}
upstreams: {{ app: {{ endpoints: ["127.0.0.1:{self.app}"] }} }}
stores: {{ data_dir: {folder}/records }}
routes:
  - {{ name: plain, match: {{ path: /plain }} }}
  - {{ name: keyed, match: {{ path: /keyed }}, idempotency: {{ owner: [constant] }} }}
""")
        quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.processes = [subprocess.Popen(["taskset", "-c", LOAD_CORE, "nginx", "-c", f"{work}/app.conf"], **quiet)]
        binary = os.path.join(ROOT, "target/release/outboard")
        run = ["taskset", "-c", PROXY_CORE, binary, "run", "--config", f"{work}/outboard.yaml"]
        self.processes.append(subprocess.Popen(run, **quiet, env={**os.environ, "XDG_RUNTIME_DIR": work}))
        wait_for(self.app)
        wait_for(self.port)

    def ticks(self):
        with open(f"/proc/{self.processes[1].pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def run(self, path, base, connections, seconds, how=""):
        before = self.ticks()
        command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", self.lua,
                   f"http://127.0.0.1:{self.port}", "--", path, base, how]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        cpu = (self.ticks() - before) / TICK * 1e6
        if "Non-2xx" in out or "Socket errors" in out:
            raise SystemExit(out)
        number = int(re.search(r"(\d+) requests in", out)[1])

        def latency(percent):
            value, unit = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)", out).groups()
            return float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]

        return cpu / number, number / seconds, latency(50), latency(99)

    @on_core(LOAD_CORE)
    def by_turns(self, base, seconds):
        """Microseconds of each unkeyed and of each keyed POST, sent one after the other on one connection."""
        fields = f"Host: bench\r\nContent-Type: application/json\r\nAuthorization: Bearer abc\r\nContent-Length: {len(BODY)}"
        client = socket.create_connection(("127.0.0.1", self.port))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def took(path, key):
            request = f"POST {path} HTTP/1.1\r\n{fields}\r\nIdempotency-Key: {key}\r\n\r\n{BODY}".encode()
            begun = time.perf_counter()
            client.sendall(request)
            answer = b""
            while not answer.endswith(ANSWER.encode()):
                part = client.recv(4096)
                if not part:
                    raise SystemExit(f"the connection ended: {answer}")
                answer += part
            took = (time.perf_counter() - begun) * 1e6
            if not answer.startswith(b"HTTP/1.1 201 "):
                raise SystemExit(answer)
            return took

        rows, end = [], time.monotonic() + seconds
        # A connection carries 10,000 requests.
        while time.monotonic() < end and len(rows) < 4_900:
            key = f"{base}-{len(rows)}"
            rows.append((took("/plain", key), took("/keyed", key)))
        client.close()
        return zip(*rows)

    def end(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(20)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--seconds", type=int, default=4)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--folder")
    args = options.parse_args()
    work = tempfile.mkdtemp(prefix="keyed-")
    folder = args.folder or work
    cases = {
        "unkeyed, 64 connections": ("/plain", 64, ""),
        "keyed, 64 connections": ("/keyed", 64, ""),
        "replay, 64 connections": ("/keyed", 64, "replay"),
        "unkeyed, 64 connections, paced": ("/plain", 64, "paced"),
        "keyed, 64 connections, paced": ("/keyed", 64, "paced"),
    }
    rows, rounds, pairs = {name: [] for name in cases}, [], []
    bench = Bench(work, folder)
    try:
        # First: under the load of 64 connections so much comes together that the database is at work on it for seconds.
        for number in range(args.rounds):
            syncs = fdatasync(folder, 600)
            # A keyed request waits for two, one after the other, and the disk may do something else between them.
            paced = fdatasync(folder, 2_000, 150e-6)
            pairs += map(sum, zip(paced[::2], paced[1::2]))
            unkeyed, keyed = bench.by_turns(f"{os.getpid()}-{number}", args.seconds)
            rounds.append([percentile(times, percent) for times in (syncs, unkeyed, keyed) for percent in (50, 99)])
        for number in range(args.rounds):
            for name, (path, connections, how) in cases.items():
                base = "again" if how == "replay" else f"{os.getpid()}-{number}-{connections}-{how}"
                if how == "replay" and number == 0:
                    bench.run(path, base, 1, 1, how)
                rows[name].append(bench.run(path, base, connections, args.seconds, how))
    finally:
        bench.end()
        shutil.rmtree(work, ignore_errors=True)
    print("| case | CPU us a request | requests/s | median us | 99 % us |\n|---|---|---|---|---|")
    for name, runs in rows.items():
        cpu, rate, p50, p99 = (statistics.median(column) for column in zip(*runs))
        print(f"| {name} | {cpu:.1f} | {rate:,.0f} | {p50:.0f} | {p99:.0f} |")
    print("\n| 1 connection: fdatasync us, 99 % | unkeyed, 99 % | keyed, 99 % | added at the median, limit | at 99 %, limit |")
    print("|---|---|---|---|---|")
    added = []
    for sync, sync99, unkeyed, unkeyed99, keyed, keyed99 in rounds:
        p50, limit50, p99, limit99 = keyed - unkeyed, 2 * sync + 300, keyed99 - unkeyed99, 4 * sync + 300
        added.append((p50, limit50, p99, limit99))
        both = f"{sync:.0f}, {sync99:.0f} | {unkeyed:.0f}, {unkeyed99:.0f} | {keyed:.0f}, {keyed99:.0f}"
        print(f"| {both} | {p50:+.0f}, {limit50:.0f} | {p99:+.0f}, {limit99:.0f} |")
    for name, us, limit in (("median", 0, 1), ("99 %", 2, 3)):
        within = sum(row[us] <= row[limit] for row in added)
        medians = [statistics.median(row[column] for row in added) for column in (us, limit)]
        print(f"at the {name}: {medians[0]:+.0f} us, limit {medians[1]:.0f}; within it in {within} of {len(added)} rounds")
    print(f"two fdatasync, each 150 us after the one before: {percentile(pairs, 50):.0f} us, 99 %: {percentile(pairs, 99):.0f} us")


if __name__ == "__main__":
    main()
