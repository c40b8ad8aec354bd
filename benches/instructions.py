#!/usr/bin/env python3
"""What a request costs in instructions outside the kernel, counted by valgrind.

    python3 benches/instructions.py                    builds the release binary, then all cases: what RESULTS.md shows
    python3 benches/instructions.py --binary FILE      a binary that is there
    python3 benches/instructions.py --keep DIR plain   one case; what callgrind wrote stays in DIR, for callgrind_annotate

One worker, one keep-alive connection, a route with credentials, a rate limit, slots and an access log. A figure is what 4,800 requests
take less what 800 take, by the difference: what happens once, at the start, is in neither.
"""

import argparse
import contextlib
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

FEW, MANY = 800, 4_800
ROOT = pathlib.Path(__file__).resolve().parent.parent
TEXT = b'{"text":"The quick brown fox jumps over the lazy dog.","model_id":"eleven_flash_v2_5","output_format":"mp3_44100_128"}'
JSON = (
    b'{"voice_id":"21m00Tcm4TlvDq8ikWAM","name":"Rachel","category":"premade","labels":{"accent":"american"},'
    b'"preview_url":"https://storage.example/r.mp3"}'
)
ERROR = (
    b'{"detail":{"type":"rate_limit_error","code":"rate_limit_exceeded","message":"Too many requests have been made with this key in '
    b"the last seconds. Please slow down, wait for a moment and send the request again; if this goes on happening, ask the sales team "
    b'for a higher limit on your plan.","status":"rate_limit_exceeded","request_id":"b736e114506d20210112110b377c6f9b"}}'
)
ANSWERS = {
    b"json": (b"200 OK", b"application/json", JSON),
    b"audio": (b"200 OK", b"audio/mpeg", b"\x5a" * len(JSON)),
    b"error": (b"429 Too Many Requests", b"application/json", ERROR),
}
# Name: whether generations are followed, the path, and what the provider answers: that is the path's last word.
CASES = {
    "plain": (False, "v1/json", "small JSON, `generations = false`"),
    "default": (True, "v1/json", "small JSON that is a generation"),
    "audio": (True, "v1/audio", "a little audio that is a generation"),
    "error": (False, "v1/error", "error rewritten, `generations = false`"),
    "error-default": (True, "v1/error", "error rewritten, of a generation"),
}


def config(listen, admin, provider, generations):
    return f"""
[server]
listen = "127.0.0.1:{listen}"
workers = 1
[admin]
listen = "127.0.0.1:{admin}"
[telemetry]
log = {{ format = "json", level = "info", access = true }}
[[routes]]
name = "r"
match = {{ path = "/r" }}
provider = "spoken"
upstream = "http://127.0.0.1:{provider}"
credentials = {{ header = "xi-api-key", value = "0123456789abcdef0123456789abcdef" }}
rate_limits = [{{ requests = 1000000, per = "1s" }}]
concurrency = {{ max = 5000 }}
generations = {str(generations).lower()}
[providers.spoken]
extends = "elevenlabs"
[[providers.spoken.generations]]
path = ["POST /v1/json", "POST /v1/audio", "POST /v1/error"]
audio = "body"
text = "$.text"
format = {{ name = "$.output_format" }}
model = "$.model_id"
"""


def listener():
    server = socket.create_server(("127.0.0.1", 0))
    return server, server.getsockname()[1]


def free():
    server, port = listener()
    server.close()
    return port


def message(connection, buffer):
    """One head with its body, and what came behind it."""
    while (end := buffer.find(b"\r\n\r\n")) < 0 or len(buffer) < end + 4 + length(buffer[:end]):
        read = connection.recv(65536)
        if not read:
            return None, b""
        buffer += read
    end += 4 + length(buffer[:end])
    return buffer[:end], buffer[end:]


def length(head):
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return int(found[1]) if found else 0


def provide(server):
    """The provider: an answer to each request, by the last word of its path."""

    def serve(connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer = b""
        with contextlib.suppress(OSError):
            while True:
                request, buffer = message(connection, buffer)
                if request is None:
                    return
                status, kind, body = ANSWERS[request.split(b" ", 2)[1].rsplit(b"/", 1)[1]]
                head = b"HTTP/1.1 %b\r\ncontent-type: %b\r\nrequest-id: 8f1c\r\ncontent-length: %d\r\n\r\n"
                connection.sendall(head % (status, kind, len(body)) + body)

    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


def ask(port, path, count):
    request = (
        f"POST /r/{path} HTTP/1.1\r\nhost: gateway.test\r\nuser-agent: bench/1\r\naccept: */*\r\n"
        f"content-type: application/json\r\ncontent-length: {len(TEXT)}\r\n\r\n"
    ).encode() + TEXT
    expected = ANSWERS[path.rsplit("/", 1)[1].encode()][0]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer = b""
        for _ in range(count):
            connection.sendall(request)
            answer, buffer = message(connection, buffer)
            assert answer and answer.startswith(b"HTTP/1.1 " + expected), answer


def ready(port):
    for _ in range(600):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10):
            return
        time.sleep(0.1)
    raise SystemExit("the gateway does not start; try it without valgrind")


def count(binary, case, requests, keep):
    """Instructions of a run with so many requests."""
    generations, path, _ = CASES[case]
    server, provider = listener()
    threading.Thread(target=provide, args=(server,), daemon=True).start()
    with tempfile.TemporaryDirectory() as temporary:
        directory = pathlib.Path(temporary)
        listen, admin = free(), free()
        file = directory / "gateway.toml"
        file.write_text(config(listen, admin, provider, generations))
        out = pathlib.Path(keep or temporary) / f"{case}.{requests}"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", binary, "serve", "--config", file]
        with open(directory / "log", "wb") as log:
            gateway = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            ready(admin)
            ask(listen, path, requests)
            gateway.send_signal(signal.SIGTERM)
            gateway.wait(60)
        finally:
            gateway.kill()
            server.close()
        total = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
        return int(total[1])


def main():
    parser = argparse.ArgumentParser(description="Instructions of a request outside the kernel.")
    parser.add_argument("cases", nargs="*", help=f"which of {', '.join(CASES)}; all by default")
    parser.add_argument("--binary", help="what is counted, instead of a new build")
    parser.add_argument("--keep", help="where callgrind's files stay")
    arguments = parser.parse_args()
    binary = arguments.binary
    if not binary:
        # Not by `cargo bench`: the tests' dependencies have tokio ask for a paused clock at every reading.
        subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT, check=True)
        binary = ROOT / "target/release/speechgate"
    print("| request | instructions |\n|---|---|")
    for case in arguments.cases or CASES:
        few, many = (count(binary, case, requests, arguments.keep) for requests in (FEW, MANY))
        print(f"| {CASES[case][2]} | {(many - few) / (MANY - FEW):,.0f} |", flush=True)


if __name__ == "__main__":
    main()
