"""A payment application, small enough to read: payments in memory, and a list that takes its time to be made."""

import json
import signal
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAYMENTS = {}
LOCK = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.path == "/healthz":
            return self.answer(200, {"status": "ok"})
        if self.path == "/v1/payments":
            time.sleep(0.05)  # a database
            with LOCK:
                return self.answer(200, {"data": list(PAYMENTS.values())[-100:]})
        payment = PAYMENTS.get(self.path.removeprefix("/v1/payments/"))
        return self.answer(200, payment) if payment else self.answer(404, {"error": "not found"})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/v1/payments":
            return self.answer(404, {"error": "not found"})
        time.sleep(0.1)  # a card scheme
        payment = {**json.loads(body or b"{}"), "id": str(uuid.uuid4()), "status": "captured"}
        with LOCK:
            PAYMENTS[payment["id"]] = payment
        return self.answer(201, payment)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("", 8080), Handler)
    # What has begun is answered before the process ends.
    server.daemon_threads = False
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    server.server_close()
