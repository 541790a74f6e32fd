"""A web server on this machine that behaves well or badly."""

import contextlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextlib.contextmanager
def serve(content):
    """Runs a ``Server`` of these bytes."""
    server = Server(content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.gate.set()
    server.shutdown()
    server.server_close()
    thread.join()


class Server(ThreadingHTTPServer):
    """Gives one file, whatever it is asked for.

    Attributes:
        asked: The path and range of each request.
        ranges: Whether it knows ranges.
        says_length: Whether it says how much it sends.
        drops: After how many bytes it closes the connection, for each of the next requests.
        answers: A status instead of the file, for each of the next requests; None for the file.
        gate: What it waits for when it has sent half of the file.
    """

    daemon_threads = True

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.drops, self.answers = [], [], []
        self.content, self.ranges, self.says_length = content, True, True
        self.half = len(content) // 2
        self.gate = threading.Event()
        self.gate.set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, asked = self.server, self.headers["Range"]
        server.asked.append((self.path, asked))
        if server.answers and (status := server.answers.pop(0)):
            return self.send_error(status)
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and server.ranges else 0
        if start and start >= len(server.content):
            return self.send_error(416)
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            end = len(server.content)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{end}")
        if server.says_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.drops:
            return self.wfile.write(body[: server.drops.pop(0)])
        self.wfile.write(body[: server.half])
        self.wfile.flush()
        server.gate.wait()
        return self.wfile.write(body[server.half :])

    def log_message(self, *args):
        pass
