from __future__ import annotations

import hashlib
import io
import socket
import tarfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest

from harness.datasets import download
from harness.datasets.download import extract, fetch
from harness.errors import DataError, StorageError
from tests.harness.datasets.dataset_helpers import (
    FileServer,
    run_on_tiny_disk,
    serving,
    start_child,
    start_reply,
    status_only,
    whole,
)

CONTENT = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = np.random.default_rng(1).bytes(len(CONTENT))


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as files:
        yield files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "archive.tar.gz"


def part_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def get(urls: list[str], path: Path) -> None:
    fetch(urls, path, MD5, SHA256, len(CONTENT), quiet=True)


def assert_whole(path: Path) -> None:
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_the_first_source_is_enough(server: FileServer, path: Path) -> None:
    get([server.offer("/a", whole(CONTENT)), server.offer("/b", whole(CONTENT))], path)
    assert_whole(path)
    assert server.requests == [("/a", None)]


def test_a_partial_file_is_continued(server: FileServer, path: Path) -> None:
    part_of(path).write_bytes(CONTENT[:100_001])
    get([server.offer("/a", whole(CONTENT))], path)
    assert_whole(path)
    assert server.requests == [("/a", 100_001)]


def test_a_server_that_ignores_ranges_starts_over(server: FileServer, path: Path) -> None:
    part_of(path).write_bytes(CONTENT[:100_001])
    get([server.offer("/a", whole(CONTENT, ranges=False))], path)
    assert_whole(path)
    assert server.requests == [("/a", 100_001)]


@pytest.mark.parametrize("content_range", [f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}", "nonsense", ""])
def test_a_server_that_sends_another_range_is_asked_for_the_whole(
    server: FileServer, path: Path, content_range: str
) -> None:
    def wrong_range(handler: BaseHTTPRequestHandler, first: int | None) -> None:
        if first is None:
            whole(CONTENT)(handler, first)
            return
        start_reply(handler, 206, {"Content-Length": len(CONTENT), "Content-Range": content_range})

    part_of(path).write_bytes(CONTENT[:100])
    get([server.offer("/a", wrong_range)], path)
    assert_whole(path)
    assert [first for _, first in server.requests] == [100, None]


def test_a_server_that_refuses_the_range_is_asked_for_the_whole(server: FileServer, path: Path) -> None:
    def refusing(handler: BaseHTTPRequestHandler, first: int | None) -> None:
        (whole(CONTENT) if first is None else status_only(416))(handler, first)

    part_of(path).write_bytes(CONTENT[:100])
    get([server.offer("/a", refusing)], path)
    assert_whole(path)
    assert [first for _, first in server.requests] == [100, None]


def test_a_complete_partial_file_needs_no_request(server: FileServer, path: Path) -> None:
    part_of(path).write_bytes(CONTENT)
    get([server.offer("/a", whole(CONTENT))], path)
    assert_whole(path)
    assert server.requests == []


@pytest.mark.parametrize("stale", [OTHER, OTHER + b"more", OTHER[:1000]])
def test_a_partial_file_of_something_else_does_not_cost_a_source(
    server: FileServer, path: Path, stale: bytes
) -> None:
    part_of(path).write_bytes(stale)
    get([server.offer("/a", whole(CONTENT))], path)
    assert_whole(path)


def test_wrong_content_is_discarded_and_the_next_source_tried(server: FileServer, path: Path) -> None:
    get([server.offer("/a", whole(OTHER)), server.offer("/b", whole(CONTENT))], path)
    assert_whole(path)
    assert server.requests == [("/a", None), ("/b", None)]


@pytest.mark.parametrize("wrong", ["md5", "sha256"])
def test_both_hashes_count(server: FileServer, path: Path, wrong: str) -> None:
    hashes = {"md5": MD5, "sha256": SHA256, wrong: "0" * 32}
    url = server.offer("/a", whole(CONTENT))
    with pytest.raises(DataError, match=rf"wrong content \({wrong} "):
        fetch([url], path, size=len(CONTENT), quiet=True, **hashes)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("size", [len(CONTENT) - 1, len(CONTENT) + 1])
def test_a_file_of_another_size_is_not_downloaded(server: FileServer, path: Path, size: int) -> None:
    url = server.offer("/a", whole(CONTENT))
    with pytest.raises(DataError, match=f"offers {len(CONTENT)} bytes instead of {size}"):
        fetch([url], path, MD5, SHA256, size, quiet=True)
    assert list(path.parent.iterdir()) == []


def test_a_server_that_does_not_stop_is_stopped(server: FileServer, path: Path) -> None:
    def endless(handler: BaseHTTPRequestHandler, first: int | None) -> None:
        start_reply(handler, 200, {})
        while True:
            handler.wfile.write(OTHER)

    with pytest.raises(DataError, match="sent more than 300,000 bytes"):
        get([server.offer("/a", endless)], path)
    assert part_of(path).stat().st_size < 2 * len(CONTENT)


def test_a_source_that_crawls_is_given_up_and_the_next_one_continues(
    server: FileServer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_SPEED_WINDOW_S", 0.2)
    crawling = whole(CONTENT, chunk=1000, pause_s=0.05)
    get([server.offer("/slow", crawling), server.offer("/fast", whole(CONTENT))], path)
    assert_whole(path)
    (slow, _), (fast, resumed_at) = server.requests
    assert (slow, fast) == ("/slow", "/fast")
    assert resumed_at is not None
    assert 0 < resumed_at < len(CONTENT)


def test_the_last_source_may_crawl(server: FileServer, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_SPEED_WINDOW_S", 0.05)
    monkeypatch.setattr(download, "_MIN_BYTES_PER_S", 1e12)
    get([server.offer("/a", whole(CONTENT, chunk=30_000, pause_s=0.03))], path)
    assert_whole(path)


def test_a_source_that_falls_silent_is_left(
    server: FileServer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_TIMEOUT_S", 1.0)
    silent = whole(CONTENT, chunk=1000, pause_s=3)
    get([server.offer("/silent", silent), server.offer("/b", whole(CONTENT))], path)
    assert_whole(path)
    assert server.requests[-1] == ("/b", 3000)  # three attempts, a chunk each


def test_a_cut_connection_is_taken_up_again(server: FileServer, path: Path) -> None:
    get([server.offer("/a", whole(CONTENT, stop_after=150_000))], path)
    assert_whole(path)
    assert server.requests == [("/a", None), ("/a", 150_000)]


def test_what_arrived_is_kept_for_the_next_try(server: FileServer, path: Path) -> None:
    url = server.offer("/a", whole(CONTENT, stop_after=50_000))
    with pytest.raises(DataError, match=r"ended after 150,000 of 300,000 bytes"):
        get([url], path)
    assert not path.exists()
    get([server.offer("/a", whole(CONTENT))], path)
    assert_whole(path)
    assert server.requests[-1] == ("/a", 150_000)


def test_all_sources_down_is_one_line_with_every_reason_and_what_to_do(
    server: FileServer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_TIMEOUT_S", 1.0)
    with socket.socket() as taken, socket.socket() as silent:
        taken.bind(("127.0.0.1", 0))  # refuses connections
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # takes connections and never answers
        dead, mute = (f"127.0.0.1:{s.getsockname()[1]}" for s in (taken, silent))
        urls = [f"http://{dead}/a", f"http://{mute}/a", server.offer("/a", status_only(404))]
        with pytest.raises(DataError) as caught:
            get(urls, path)
    host = server.base.removeprefix("http://")
    assert str(caught.value) == (
        f"cannot download archive.tar.gz ({dead}: Connection refused; {mute}: no answer for 1 s; "
        f"{host}: HTTP 404 Not Found): "
        f"download http://{dead}/a by hand and put it at {path} (sha256 {SHA256})"
    )


def test_a_folder_that_cannot_be_written_is_a_storage_error(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "archive.tar.gz"
    with pytest.raises(StorageError, match=r"cannot write .*archive\.tar\.gz\.part: Not a directory"):
        get([server.offer("/a", whole(CONTENT))], path)


FETCH = f"""
import sys
from pathlib import Path
from harness.datasets.download import fetch
from harness.errors import StorageError
try:
    fetch([sys.argv[1]], Path(sys.argv[2]), "{MD5}", "{SHA256}", {len(CONTENT)}, quiet=True)
except StorageError as error:
    print(error)
"""


def test_a_full_disk_is_a_storage_error(server: FileServer, tmp_path: Path) -> None:
    url = server.offer("/a", whole(CONTENT))
    printed = run_on_tiny_disk(tmp_path, "100k", FETCH, url, tmp_path / "a")
    assert printed.startswith(f"no space left to write {tmp_path / 'a.part'}")


def test_a_killed_download_is_never_taken_for_whole_and_is_continued(server: FileServer, path: Path) -> None:
    url = server.offer("/a", whole(CONTENT, chunk=20_000, pause_s=0.1))
    child = start_child(FETCH, url, path)
    with child:
        while not (part_of(path).exists() and part_of(path).stat().st_size > 50_000):
            assert child.poll() is None, child.communicate()
        child.kill()
    assert not path.exists()
    arrived = part_of(path).stat().st_size
    get([server.offer("/a", whole(CONTENT))], path)
    assert_whole(path)
    assert server.requests[-1] == ("/a", arrived)


def tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def test_a_folder_is_extracted(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar.gz", {"data/one": b"1", "data/sub/two": b"22"})
    extract(tmp_path / "a.tar.gz", tmp_path / "data")
    assert (tmp_path / "data/one").read_bytes() == b"1"
    assert (tmp_path / "data/sub/two").read_bytes() == b"22"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.tar.gz", "data"]


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.99])
def test_a_truncated_archive_leaves_no_folder(tmp_path: Path, keep: float) -> None:
    archive = tmp_path / "a.tar.gz"
    tar(archive, {"data/one": CONTENT})
    whole_archive = archive.read_bytes()
    archive.write_bytes(whole_archive[: int(keep * len(whole_archive))])
    with pytest.raises(DataError, match=r"a\.tar\.gz: damaged"):
        extract(archive, tmp_path / "data")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tar.gz"]


def test_a_changed_byte_in_an_archive_is_noticed(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    tar(archive, {"data/one": CONTENT})
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.tar\.gz: damaged"):
        extract(archive, tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside-of-the-folder"])
def test_an_archive_writes_nothing_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    tar(home / "a.tar.gz", {"data/one": b"1", name: b"evil"})
    if name.startswith("/"):
        extract(home / "a.tar.gz", home / "data")  # the slash is taken off, as tar does
    else:
        with pytest.raises(DataError, match="damaged"):
            extract(home / "a.tar.gz", home / "data")
    assert not Path(name).exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["home"]


def test_an_archive_without_the_folder_is_refused(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar.gz", {"other/one": b"1"})
    with pytest.raises(DataError, match="holds no folder data"):
        extract(tmp_path / "a.tar.gz", tmp_path / "data")


EXTRACT = """
import sys, tarfile, time
from pathlib import Path
from harness.datasets.download import extract
copy = tarfile.copyfileobj
def slow_copy(*args, **kwargs):
    copy(*args, **kwargs)
    print("half", flush=True)
    time.sleep(60)
tarfile.copyfileobj = slow_copy
extract(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_killed_extraction_is_never_taken_for_whole(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar.gz", {"data/one": b"1", "data/two": b"22"})
    with start_child(EXTRACT, tmp_path / "a.tar.gz", tmp_path / "data") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "half\n"
        child.kill()
    assert not (tmp_path / "data").exists()
    extract(tmp_path / "a.tar.gz", tmp_path / "data")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.tar.gz", "data"]
    assert (tmp_path / "data/two").read_bytes() == b"22"


def test_an_extraction_onto_a_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    tar(tmp_path / "a.tar.gz", {"data/one": CONTENT})
    script = """
import sys
from pathlib import Path
from harness.datasets.download import extract
from harness.errors import StorageError
try:
    extract(Path(sys.argv[1]), Path(sys.argv[2]))
except StorageError as error:
    print(error, [entry.name for entry in Path(sys.argv[2]).parent.iterdir()])
"""
    disk = tmp_path / "disk"
    printed = run_on_tiny_disk(disk, "100k", script, tmp_path / "a.tar.gz", disk / "data")
    assert printed.startswith(f"no space left to write {disk / 'data'}")
    assert printed.endswith("[]\n")
