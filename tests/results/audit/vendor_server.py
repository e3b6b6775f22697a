"""A vendor that answers over HTTP, well or badly: a real server in a thread of the test."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

from results.audit.images import AskedImages

Predictions = list[dict[str, Any]]


@dataclass
class Raw:
    """A reply that is not the right one."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    reset: bool = False
    drip: bool = False
    """Send the body byte by byte, for ever."""


@dataclass
class Seen:
    """One request as it came in."""

    number: int
    """Over all requests, from 0."""

    ids: list[str]
    keys: list[bytes]
    """The pixels of each image."""

    authorization: str | None
    at: float
    path: str


Misbehave = Callable[[Seen, Predictions], "Raw | Predictions | None"]
"""What to answer instead of the right predictions; None: these."""


class VendorServer:
    """Knows the class of every test image and gets each tenth one wrong."""

    def __init__(self, asked: AskedImages, misbehave: Misbehave, with_probabilities: bool) -> None:
        assert asked.images is not None
        self.num_classes = len(asked.class_names)
        self.expected = (asked.labels + (np.arange(len(asked.labels)) % 10 == 0)) % self.num_classes
        # Equal images, if there are any, have to have equal answers.
        self.of_pixels: dict[bytes, int] = {}
        for position, image in enumerate(asked.images):
            self.expected[position] = self.of_pixels.setdefault(image.tobytes(), int(self.expected[position]))
        self.class_names = asked.class_names
        self.misbehave = misbehave
        self.with_probabilities = with_probabilities
        self.seen: list[Seen] = []
        self.times_sent: Counter[bytes] = Counter()
        self.lock = threading.Lock()
        self.httpd = _Httpd(("127.0.0.1", 0), _Handler)
        self.httpd.vendor = self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.httpd.server_address[1]}/classify"

    def answer(self, seen: Seen) -> Predictions:
        predictions: Predictions = []
        for name, pixels in zip(seen.ids, seen.keys, strict=True):
            index = self.of_pixels[pixels]
            if self.with_probabilities:
                rest = 0.2 / (self.num_classes - 1)
                probs = {each: 0.8 if i == index else rest for i, each in enumerate(self.class_names)}
                predictions.append({"id": name, "probabilities": probs})
            else:
                predictions.append({"id": name, "class": self.class_names[index]})
        return predictions


@contextlib.contextmanager
def serving(
    asked: AskedImages,
    misbehave: Misbehave = lambda seen, predictions: None,
    with_probabilities: bool = True,
) -> Iterator[VendorServer]:
    vendor = VendorServer(asked, misbehave, with_probabilities)
    thread = threading.Thread(target=vendor.httpd.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield vendor
    finally:
        vendor.httpd.shutdown()
        thread.join()
        vendor.httpd.server_close()


class _Httpd(ThreadingHTTPServer):
    daemon_threads = True
    vendor: VendorServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is expected here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Httpd

    def do_POST(self) -> None:  # the name that http.server calls
        vendor = self.server.vendor
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        keys = [_pixels(text) for text in content["images"]]
        with vendor.lock:
            seen = Seen(
                len(vendor.seen),
                content["ids"],
                keys,
                self.headers["Authorization"],
                time.monotonic(),
                self.path,
            )
            vendor.seen.append(seen)
            vendor.times_sent.update(keys)
        predictions = vendor.answer(seen)
        reply = vendor.misbehave(seen, predictions)
        if not isinstance(reply, Raw):
            content = {"predictions": predictions if reply is None else reply}
            reply = Raw(json.dumps(content).encode(), headers={"Content-Type": "application/json"})
        self._send(reply)

    def _send(self, reply: Raw) -> None:
        time.sleep(reply.delay_s)
        if reply.reset:
            # With a linger time of 0 the kernel sends a reset instead of an orderly end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(10**9 if reply.drip else len(reply.body)))
        self.end_headers()
        while reply.drip:
            self.wfile.write(b" ")
            time.sleep(0.02)
        self.wfile.write(reply.body)

    def log_message(self, *arguments: Any) -> None:
        """The test prints nothing."""


def _pixels(text: str) -> bytes:
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.asarray(image).transpose(2, 0, 1).tobytes()
