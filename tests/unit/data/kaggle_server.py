"""A stand-in for Kaggle's server: the two calls of its API that kagglehub makes for a data set, and the file."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

NOBODY = "http://127.0.0.1:9"
"""An address where nothing listens."""

REDIRECT = """
import os
import kagglesdk.kaggle_env as kaggle

kaggle._env_to_endpoint[kaggle.KaggleEnv.PROD] = os.environ["STAND_IN_FOR_KAGGLE"]
"""
"""``sitecustomize.py`` of an interpreter that is to ask the stand-in: kagglesdk's own setting for tests fixes the port,
and reads each answer whole before it is written."""


class KaggleServer:
    """Serves one archive as every data set.

    Attributes:
        archive: The bytes of a zip.
        url: Its address.
        status: Of the answer to a download.
        piece: After so many bytes it waits until ``go_on`` is set; 0 for never.
        ranges: Where downloads began.
    """

    def __init__(self, archive: bytes, status: int = 200, piece: int = 0) -> None:
        self.archive, self.status, self.piece = archive, status, piece
        self.ranges: list[int] = []
        self.go_on = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.path.endswith("/GetDataset"):
                    self._answer(200, json.dumps({"currentVersionNumber": 1}).encode(), "application/json")
                elif server.status != 200:
                    document = json.dumps({"code": server.status, "message": "no such dataset"})
                    self._answer(server.status, document.encode(), "application/json")
                else:
                    self.send_response(302)
                    self.send_header("Location", f"{server.url}/archive.zip")
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def do_GET(self) -> None:
                start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
                server.ranges.append(start)
                self._answer(206 if start else 200, server.archive[start:], "application/zip")

            def _answer(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Accept-Ranges", "bytes")
                self.end_headers()
                first = server.piece if kind == "application/zip" and server.piece else len(body)
                self.wfile.write(body[:first])
                self.wfile.flush()
                if first < len(body):
                    server.go_on.wait(60)
                    with contextlib.suppress(OSError):  # who asked may have been stopped
                        self.wfile.write(body[first:])

            def log_message(self, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        os.environ["STAND_IN_FOR_KAGGLE"] = self.url
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        os.environ["STAND_IN_FOR_KAGGLE"] = NOBODY
        self.go_on.set()
        self._http.shutdown()
        self._http.server_close()
