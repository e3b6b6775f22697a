"""What the data set tests share: a web server with faults, small CIFAR-10 files, children, a tiny disk."""

from __future__ import annotations

import hashlib
import pickle
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[3]
CLASSES = [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"]

Reply = Callable[[BaseHTTPRequestHandler, int | None], None]
"""Answers a request whose Range begins at the given byte, or that has none."""


class FileServer:
    """A web server on 127.0.0.1 that remembers what it was asked for."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.replies: dict[str, Reply] = {}
        self.requests: list[tuple[str, int | None]] = []

    def offer(self, path: str, reply: Reply) -> str:
        """Answer `path` with `reply`; return its URL."""
        self.replies[path] = reply
        return self.base + path


@contextmanager
def serving() -> Iterator[FileServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else None
            files.requests.append((self.path, first))
            try:
                files.replies[self.path](self, first)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    files = FileServer(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield files
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def start_reply(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, Any]) -> None:
    handler.send_response(status)
    for key, value in headers.items():
        handler.send_header(key, str(value))
    handler.end_headers()


def whole(
    content: bytes,
    *,
    ranges: bool = True,
    stop_after: int | None = None,
    chunk: int = 1 << 16,
    pause_s: float = 0,
) -> Reply:
    """A server of `content`: with or without ranges, cutting each reply off, or taking its time."""

    def reply(handler: BaseHTTPRequestHandler, first: int | None) -> None:
        if ranges and first is not None and first >= len(content):
            start_reply(handler, 416, {"Content-Length": 0, "Content-Range": f"bytes */{len(content)}"})
            return
        start = first if ranges and first is not None else 0
        body = content[start:]
        headers: dict[str, Any] = {"Content-Length": len(body)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        start_reply(handler, 206 if start else 200, headers)
        for position in range(0, len(body[:stop_after]), chunk):
            handler.wfile.write(body[:stop_after][position : position + chunk])
            time.sleep(pause_s)

    return reply


def status_only(status: int) -> Reply:
    return lambda handler, _: start_reply(handler, status, {"Content-Length": 0})


def python2_pickle(images: np.ndarray[Any, np.dtype[np.uint8]], labels: list[int]) -> bytes:
    """A batch as Python 2 and numpy 1 pickled the published files: byte strings, `numpy.core`."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value  # SHORT_BINSTRING

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)  # BININT

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n"
        + (b"cnumpy\nndarray\n" + number(0) + b"\x85" + text(b"b") + b"\x87R")
        + (b"(" + number(1) + number(images.shape[0]) + number(images.shape[1]) + b"\x86")
        + (b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + b"\x87R")
        + (b"(" + number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb\x89")
        + (b"T" + struct.pack("<i", images.size) + images.tobytes() + b"tb")
    )
    items = b"".join(number(label) for label in labels)
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + b"](" + items + b"eu."


def make_batch(seed: int, num_images: int = 20) -> dict[bytes, Any]:
    generator = np.random.default_rng(seed)
    return {
        b"batch_label": b"a batch",
        b"labels": [int(label) for label in generator.integers(0, 10, num_images)],
        b"data": generator.integers(0, 256, (num_images, 3072), dtype=np.uint8),
    }


def write_cifar(parent: Path, num_batches: int = 2, num_images: int = 20) -> Path:
    """Write random images in CIFAR-10's layout to `parent/cifar-10-batches-py`."""
    folder = parent / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = [f"data_batch_{number}" for number in range(1, num_batches + 1)] + ["test_batch"]
    for seed, name in enumerate(names):
        (folder / name).write_bytes(pickle.dumps(make_batch(seed, num_images), protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": CLASSES}, protocol=2))
    return folder


def md5s(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def write_image(
    path: Path, seed: int, size: tuple[int, int] = (12, 12)
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Write a random RGB image; a suffix without loss keeps the returned pixels [H, W, 3]."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def start_child(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Run Python code in another process, which finds the project's packages."""
    command = [sys.executable, "-c", script, *(str(argument) for argument in arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run_on_tiny_disk(folder: Path, size: str, script: str, *arguments: object) -> str:
    """Run Python code that sees a disk of `size` mounted on `folder`; return what it printed."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare to mount a small disk")
    mount = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    shell = f'mount -t tmpfs -o size={size} tmpfs "$0" && exec "$@"'
    if subprocess.run([*mount, shell, folder, "true"], capture_output=True).returncode != 0:
        pytest.skip("mounting a small disk is not allowed here")
    command = [*mount, shell, str(folder), sys.executable, "-c", script, *(str(a) for a in arguments)]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert child.returncode == 0, child.stderr
    return child.stdout
