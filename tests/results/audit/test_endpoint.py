from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from harness.errors import DataError, UsageError, VerdictError
from results.audit import client as client_module
from results.audit.address import Address
from results.audit.client import Patience
from results.audit.endpoint import Asking, Told, ask_endpoint
from results.audit.images import AskedImages
from results.audit.journal import JOURNAL, HeaderLine, open_journal
from results.audit.protocol import max_reply_bytes
from tests.results.audit.vendor_server import Misbehave, Predictions, Raw, Seen, VendorServer, serving

KEY = "sk-very-secret-123"


def _ask(
    vendor: VendorServer,
    asked: AskedImages,
    folder: Path,
    *,
    name: str = "Acme",
    url: str | None = None,
    key: str | None = None,
    batch_size: int = 8,
    concurrency: int = 3,
    num_again: int = 10,
    timeout_s: float = 5.0,
    retries: int = 6,
    rate_per_s: float | None = None,
) -> Told:
    asking = Asking(batch_size, concurrency, num_again, Patience(timeout_s, retries, rate_per_s))
    return ask_endpoint(name, asked, Address.of(url or vendor.url, key), asking, folder)


@pytest.mark.parametrize("with_probabilities", [True, False])
def test_every_image_is_asked_about_once_and_scored(
    asked: AskedImages, folder: Path, with_probabilities: bool
) -> None:
    with serving(asked, with_probabilities=with_probabilities) as vendor:
        told = _ask(vendor, asked, folder, num_again=0)

    assert np.array_equal(told.predictions.classes, vendor.expected)
    assert told.predictions.fingerprint == asked.test_fingerprint
    assert (told.predictions.scores is not None) == with_probabilities
    assert set(vendor.times_sent.values()) == {1}
    assert told.facts.num_requests == 8
    assert told.facts.images_per_request == 8
    assert told.facts.num_images_answered == 60
    assert told.facts.failures == {}
    assert 0 < told.facts.latency_p50_ms <= told.facts.latency_p95_ms <= told.facts.latency_p99_ms
    assert told.facts.latency_single_p50_ms is None


def test_an_endpoint_that_answers_in_another_order_is_understood(asked: AskedImages, folder: Path) -> None:
    with serving(asked, lambda seen, predictions: predictions[::-1]) as vendor:
        told = _ask(vendor, asked, folder)

    assert np.array_equal(told.predictions.classes, vendor.expected)
    assert told.facts.num_again == 10
    assert told.facts.num_changed == 0
    assert told.facts.warnings() == ()
    assert told.facts.num_images_answered == 70
    assert told.facts.latency_single_p50_ms is not None


def test_images_are_sent_in_random_order_under_ids_that_say_nothing(asked: AskedImages, folder: Path) -> None:
    with serving(asked) as vendor:
        _ask(vendor, asked, folder, concurrency=1, num_again=5)

    assert asked.images is not None
    in_order = [image.tobytes() for image in asked.images]
    sent = [pixels for seen in vendor.seen for pixels in seen.keys]
    assert sent[:60] != in_order
    assert sorted(sent[:60]) == sorted(in_order)
    ids = [name for seen in vendor.seen for name in seen.ids]
    assert len(set(ids)) == 65  # those that are sent again have other ids
    assert all(len(name) == 16 for name in ids)


def _always(reply: Raw) -> Misbehave:
    return lambda seen, predictions: reply


def _wrong_order(seen: Seen, predictions: Predictions) -> Predictions:
    """The ids as they were sent, the answers of the images beside them."""
    ids = [each["id"] for each in predictions]
    moved = predictions[1:] + predictions[:1]
    return [each | {"id": name} for each, name in zip(moved, ids, strict=True)]


def test_answers_in_the_wrong_order_under_the_right_ids_are_caught(asked: AskedImages, folder: Path) -> None:
    with serving(asked, _wrong_order) as vendor:
        told = _ask(vendor, asked, folder, num_again=30)

    assert (told.predictions.classes != vendor.expected).any()
    assert told.facts.num_changed > 10
    (warning,) = told.facts.warnings()
    assert f"{told.facts.num_changed} of 30 images got another class when they were sent again" in warning


def test_answers_that_change_are_caught(asked: AskedImages, folder: Path) -> None:
    def changing(seen: Seen, predictions: Predictions) -> Predictions:
        index = 0 if seen.number < 8 else 1
        return [{"id": each["id"], "class": index} for each in predictions]

    with serving(asked, changing) as vendor:
        told = _ask(vendor, asked, folder, num_again=10)

    assert told.facts.num_changed == 10


TRANSIENT: dict[str, tuple[Raw, str]] = {
    "an internal error": (Raw(b"oops", 500), "status 500"),
    "a bad gateway": (Raw(b"<html>502</html>", 502), "status 502"),
    "a rate limit": (Raw(b"slow down", 429, {"Retry-After": "0"}), "status 429"),
    "a pause without a time": (Raw(b"busy", 503), "status 503"),
    "a pause until a date that is none": (
        Raw(b"busy", 503, {"Retry-After": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"}),
        "status 503",
    ),
    "a reset": (Raw(reset=True), "no connection"),
    "a slow answer": (Raw(b"{}", delay_s=1.0), "time-out"),
    "a dripping answer": (Raw(drip=True), "time-out"),
    "HTML instead of JSON": (Raw(b"<!doctype html><h1>Welcome"), "no JSON"),
    "half a JSON text": (Raw(b'{"predictions": [{"id"'), "no JSON"),
    "no text at all": (Raw(b"\xff\x00\xfe"), "no JSON"),
}


@pytest.mark.parametrize(("reply", "reason"), TRANSIENT.values(), ids=TRANSIENT.keys())
def test_what_passes_is_tried_again_and_counted(
    asked: AskedImages, folder: Path, reply: Raw, reason: str
) -> None:
    def at_times(seen: Seen, predictions: Predictions) -> Raw | None:
        return reply if seen.number in (0, 3) else None

    with serving(asked, at_times) as vendor:
        told = _ask(vendor, asked, folder, timeout_s=0.4, num_again=0)

    assert np.array_equal(told.predictions.classes, vendor.expected)
    assert told.facts.failures == {reason: 2}
    assert told.facts.num_requests == 8
    assert len(vendor.seen) == 10


def _with(predictions: Predictions, **fields: object) -> Predictions:
    first = {name: value for name, value in (predictions[0] | fields).items() if value is not None}
    return [first, *predictions[1:]]


BROKEN: dict[str, tuple[Callable[[Predictions], object], str]] = {
    "an answer too few": (lambda p: p[1:], "7 answers for 8 images"),
    "an answer too many": (lambda p: [*p, p[0]], "9 answers for 8 images"),
    "an answer twice": (lambda p: [p[1], *p[1:]], "a second answer for"),
    "an id of nobody": (lambda p: _with(p, id="0"), "'0' is no id of this request"),
    "no ids": (lambda p: _with(p, id=None), "prediction 0: has no 'id'"),
    "a number as id": (lambda p: _with(p, id=3), "'3' is no id of this request"),
    "answers alone": (lambda p: ["cat"] * len(p), "prediction 0: has no 'id'"),
    "an unknown class": (
        lambda p: [{"id": each["id"], "class": "catt"} for each in p],
        "unknown class 'catt': did you mean 'cat'?",
    ),
    "no class": (lambda p: [{"id": each["id"]} for each in p], "neither a class nor probabilities"),
    "a probability above 1": (
        lambda p: _with(p, probabilities=[1.5, 0, -0.5]),
        "probability of 'cat' is 1.5, not from 0 to 1",
    ),
    "a sum of 97": (lambda p: _with(p, probabilities=[0.9, 0.05, 0.02]), "sum to 0.97"),
    "a class left out": (
        lambda p: _with(p, probabilities={"cat": 0.5, "dog": 0.5}),
        "no probability for class '<b>ship</b>'",
    ),
    "a class alone among probabilities": (
        lambda p: [p[0], {"id": p[1]["id"], "class": "cat"}, *p[2:]],
        "classes here, but probabilities for the images before",
    ),
    "another form": (lambda p: Raw(b'{"answers": []}'), 'not {"predictions": [...]}'),
    "too large": (lambda p: Raw(b" " * (2**21 + 8 * 3 * 100)), "answers more than 2,09"),
    "compressed": (lambda p: Raw(b"x", headers={"Content-Encoding": "gzip"}), "answers compressed"),
    "not allowed": (lambda p: Raw(b"no", 401), "status 401: 'no': check the key that --key-env names"),
    "not found": (lambda p: Raw(b"where?", 404), "refuses the request with status 404: 'where?'"),
    "too long a pause": (lambda p: Raw(b"", 429, {"Retry-After": "7200"}), "asks to wait 7,200 s"),
    "moved": (
        lambda p: Raw(b"", 302, {"Location": "/new"}),
        "redirects with status 302, which drops the images: name the right address, perhaps 'http://127.0.0.1:",
    ),
    "moved with an endless page": (
        lambda p: Raw(b"", 302, {"Location": "/new"}, drip=True),
        "redirects with status 302",
    ),
    "moved to another host": (
        lambda p: Raw(b"", 307, {"Location": "http://localhost:1/steal"}),
        "redirects to another server, which gets neither images nor key",
    ),
    "moved to no address": (
        lambda p: Raw(b"", 307, {"Location": "http://[bad/?token=hidden"}),
        "redirects to 'http://[bad/', which is no address",
    ),
    "moved to a secret": (
        lambda p: Raw(b"", 302, {"Location": "http://me:secret@host/new?token=hidden"}),
        "perhaps 'http://host/new'",
    ),
    "moved in a circle": (lambda p: Raw(b"", 307, {"Location": "/classify"}), "redirects more than 3 times"),
}


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_what_does_not_pass_ends_the_audit_with_one_clear_error(
    asked: AskedImages, folder: Path, change: Callable[[Predictions], object], message: str
) -> None:
    def reply(seen: Seen, predictions: Predictions) -> Raw | Predictions | None:
        found = change(predictions)
        assert isinstance(found, Raw | list)
        return found if seen.number >= 2 else None

    with serving(asked, reply) as vendor, pytest.raises(VerdictError) as caught:
        _ask(vendor, asked, folder, concurrency=1)

    assert message in str(caught.value)
    assert "(16 of 60 images are answered and kept: the same command goes on with the rest)" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)
    assert len(vendor.seen) <= 2 + 4  # it was not tried again


@pytest.mark.parametrize(("reply", "reason"), TRANSIENT.values(), ids=TRANSIENT.keys())
def test_what_never_passes_ends_the_audit_after_the_last_try(
    asked: AskedImages, folder: Path, reply: Raw, reason: str
) -> None:
    with serving(asked, lambda seen, predictions: reply) as vendor, pytest.raises(DataError) as caught:
        _ask(vendor, asked, folder, timeout_s=0.1, retries=1, concurrency=1)

    assert "no usable answer in 2 tries; the last one: " in str(caught.value)
    assert "(0 of 60 images are answered" in str(caught.value)
    assert len(vendor.seen) == 2


def test_a_pause_that_is_asked_for_holds_every_thread_back(asked: AskedImages, folder: Path) -> None:
    def once(seen: Seen, predictions: Predictions) -> Raw | None:
        return Raw(b"", 429, {"Retry-After": "1"}) if seen.number == 0 else None

    with serving(asked, once) as vendor:
        told = _ask(vendor, asked, folder, concurrency=1, num_again=0)

    assert vendor.seen[1].at - vendor.seen[0].at >= 1
    assert told.facts.failures == {"status 429": 1}


def test_a_rate_is_kept_over_all_threads(asked: AskedImages, folder: Path) -> None:
    with serving(asked) as vendor:
        _ask(vendor, asked, folder, rate_per_s=25, num_again=0)

    assert vendor.seen[-1].at - vendor.seen[0].at >= 0.9 * 7 / 25


def test_a_redirect_within_the_server_is_followed(asked: AskedImages, folder: Path) -> None:
    def moved(seen: Seen, predictions: Predictions) -> Raw | None:
        return Raw(b"", 308, {"Location": "/v2"}) if seen.path == "/classify" else None

    with serving(asked, moved) as vendor:
        told = _ask(vendor, asked, folder, key=KEY, num_again=0)

    assert np.array_equal(told.predictions.classes, vendor.expected)
    assert {seen.authorization for seen in vendor.seen} == {f"Bearer {KEY}"}


def test_the_key_is_sent_but_never_kept_shown_or_given_to_others(
    asked: AskedImages, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(asked) as other:

        def reply(seen: Seen, predictions: Predictions) -> Raw | None:
            if seen.number < 3:
                return None
            return Raw(b"", 307, {"Location": other.url})

        with serving(asked, reply) as vendor, pytest.raises(UsageError, match="another server"):
            _ask(vendor, asked, folder, key=KEY, concurrency=1)
    assert other.seen == []
    assert {seen.authorization for seen in vendor.seen} == {f"Bearer {KEY}"}

    echo = Raw(f"bad key {KEY}".encode(), 403)
    with serving(asked, lambda seen, predictions: echo) as vendor, pytest.raises(UsageError) as caught:
        _ask(vendor, asked, folder.with_name("echo"), key=KEY)

    assert "bad key ***" in str(caught.value)
    output = capsys.readouterr()
    written = b"".join(path.read_bytes() for path in folder.parent.rglob("*") if path.is_file())
    for text in (str(caught.value), output.out, output.err, written.decode()):
        assert KEY not in text


def test_a_secret_is_masked_before_a_text_is_shortened(asked: AskedImages, folder: Path) -> None:
    for length in range(20, 70, 3):
        text = "x" * length + KEY + "hidden/value"
        reply = Raw(text.encode(), 403)
        with serving(asked, _always(reply)) as vendor, pytest.raises(UsageError) as caught:
            _ask(
                vendor,
                asked,
                folder.with_name(str(length)),
                key=KEY,
                url=f"{vendor.url}?token=hidden%2Fvalue",
                concurrency=1,
            )
        assert "sk-" not in str(caught.value)
        assert "hidd" not in str(caught.value)


def test_the_key_is_masked_in_answers_that_cannot_be_used(asked: AskedImages, folder: Path) -> None:
    reply = Raw(f'{{"error": "{"x" * 40}{KEY}"}}'.encode())
    with serving(asked, lambda seen, predictions: reply) as vendor, pytest.raises(DataError) as caught:
        _ask(vendor, asked, folder, key=KEY)

    assert "sk-" not in str(caught.value)


def test_an_address_is_not_shown_with_its_secrets() -> None:
    address = Address.of("https://vendor.example/classify?token=hidden", KEY)

    assert KEY not in repr(address)
    assert "hidden" not in repr(address)
    assert address.hide_secrets("hidden, token=hidden and v=1") == "***, *** and v=1"
    with pytest.raises(UsageError) as caught:
        Address.of("ftp://vendor.example?token=hidden", None)
    assert "hidden" not in str(caught.value)


def test_this_machine_is_not_asked_through_a_proxy(
    asked: AskedImages, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("no_proxy", raising=False)
    with serving(asked) as vendor, serving(asked) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        _ask(vendor, asked, folder, key=KEY, num_again=0)

    assert proxy.seen == []
    assert len(vendor.seen) == 8


def test_answers_over_days_are_pointed_out_and_the_last_one_dates_the_audit(
    asked: AskedImages, folder: Path
) -> None:
    with serving(asked) as vendor:
        told = _ask(vendor, asked, folder, num_again=0, concurrency=1)
        assert told.notes == ()
        lines = [json.loads(line) for line in (folder / JOURNAL).read_text().splitlines()]
        for day, line in enumerate(lines[1:], start=1):
            line["answered_at"] = f"2026-03-0{day}T12:00:00Z"
        (folder / JOURNAL).write_text("".join(json.dumps(line) + "\n" for line in lines))
        again = _ask(vendor, asked, folder, num_again=0)

    assert again.last_answer_at == datetime(2026, 3, 8, 12, tzinfo=UTC)
    (note,) = again.notes
    assert "from 2026-03-01 to 2026-03-08" in note


def test_a_reply_may_be_as_large_as_all_probabilities_need() -> None:
    names = tuple(f"\N{SNOWMAN} class {index}" for index in range(100))
    row = dict.fromkeys(names, -1.2345678901234567e-300)
    reply = {"predictions": [{"id": "0" * 16, "probabilities": row}] * 64}

    assert len(json.dumps(reply, indent=4)) < max_reply_bytes(64, names) < 2**21 + 2**20


def test_a_netrc_file_is_not_looked_into(
    asked: AskedImages, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login me password mine\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with serving(asked) as vendor:
        _ask(vendor, asked, folder, num_again=0)

    assert {seen.authorization for seen in vendor.seen} == {None}


@pytest.mark.parametrize(
    ("url", "key", "message"),
    [
        ("ftp://vendor.example", None, "expected an address"),
        ("vendor.example/classify", None, "expected an address"),
        ("http://[::1", None, "Invalid IPv6"),
        ("http://host:99999/", None, "ort"),
        ("https://me:secret@vendor.example/", None, "leave user and password out"),
        ("http://vendor.example/", KEY, "only sent over https"),
        ("https://vendor.example/", "", "API key is empty"),
        ("https://vendor.example/", "two words", "API key is empty, or holds spaces"),
        ("https://vendor.example/", "line\r\nX-Evil: 1", "API key is empty, or holds spaces"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(url: str, key: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Address.of(url, key)

    assert "secret" not in str(caught.value)


def test_the_query_of_an_address_is_used_but_not_shown(asked: AskedImages, folder: Path) -> None:
    with serving(asked) as vendor:
        told = _ask(vendor, asked, folder, url=f"{vendor.url}?token=hidden", num_again=0)

    assert vendor.seen[0].path == "/classify?token=hidden"
    assert told.facts.url == vendor.url
    assert b"hidden" not in (folder / JOURNAL).read_bytes()

    with pytest.raises(DataError, match="no usable answer") as caught:  # nobody is there any more
        _ask(vendor, asked, folder.with_name("b"), url=f"{vendor.url}?token=hidden", retries=0)
    assert "hidden" not in str(caught.value)


def test_an_audit_goes_on_where_it_stopped(asked: AskedImages, folder: Path) -> None:
    broken = threading.Event()

    def reply(seen: Seen, predictions: Predictions) -> Raw | None:
        return Raw(b"", 400) if seen.number == 4 and not broken.is_set() else None

    with serving(asked, reply) as vendor:
        with pytest.raises(UsageError, match="32 of 60 images are answered"):
            _ask(vendor, asked, folder, concurrency=1)
        broken.set()
        told = _ask(vendor, asked, folder, concurrency=1, batch_size=7)
        again = _ask(vendor, asked, folder)

    assert np.array_equal(told.predictions.classes, vendor.expected)
    assert len(vendor.seen) == 5 + 4 + 10  # the third call had nothing left to ask
    assert again.facts == told.facts


def test_a_line_that_was_cut_off_is_asked_for_again(asked: AskedImages, folder: Path) -> None:
    with serving(asked) as vendor:
        _ask(vendor, asked, folder, num_again=0, concurrency=1)
        journal = folder / JOURNAL
        journal.write_bytes(journal.read_bytes()[:-30])
        told = _ask(vendor, asked, folder, num_again=0, concurrency=1)

    assert np.array_equal(told.predictions.classes, vendor.expected)
    assert len(vendor.seen) == 9
    assert journal.read_bytes().endswith(b"}\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"not JSON", ":3: journal: Invalid JSON"),
        (b'{"line": "answer"}', ":3: "),
        (
            b'{"line":"answer","again":false,"positions":[60],"classes":[0],"probabilities":null,'
            b'"latency_s":0.1,"answered_at":"2026-03-01T12:00:00Z","concurrency":1}',
            ":3: is about other images or classes",
        ),
    ],
)
def test_a_journal_that_is_damaged_is_refused_by_line(
    asked: AskedImages, folder: Path, line: bytes, message: str
) -> None:
    with serving(asked) as vendor:
        _ask(vendor, asked, folder, num_again=0)
        lines = (folder / JOURNAL).read_bytes().split(b"\n")
        (folder / JOURNAL).write_bytes(b"\n".join([*lines[:2], line, *lines[3:]]))
        with pytest.raises(DataError) as caught:
            _ask(vendor, asked, folder, num_again=0)

    assert f"{JOURNAL}{message}" in str(caught.value)


def test_a_folder_is_kept_for_one_vendor_one_endpoint_and_one_set_of_images(
    asked: AskedImages, folder: Path
) -> None:
    with serving(asked) as vendor, serving(asked) as other:
        _ask(vendor, asked, folder, num_again=0)
        with pytest.raises(UsageError, match="audit of another vendor: choose another folder with --out"):
            _ask(vendor, asked, folder, name="Other")
        with pytest.raises(UsageError, match="audit of another endpoint"):
            _ask(other, asked, folder)
        with pytest.raises(UsageError, match="audit of other test images"):
            _ask(vendor, replace(asked, test_fingerprint="0" * 64), folder)
    assert other.seen == []


def test_two_processes_are_not_at_work_on_one_audit(asked: AskedImages, folder: Path) -> None:
    header = HeaderLine(
        vendor="Acme",
        endpoint="https://a",
        endpoint_sha256="0",
        test_fingerprint="0",
        num_images=60,
        class_names=asked.class_names,
        nonce="0",
    )
    with (
        serving(asked) as vendor,
        open_journal(folder, header),
        pytest.raises(UsageError, match="another process is at work"),
    ):
        _ask(vendor, asked, folder)


def test_answers_with_and_without_probabilities_are_not_mixed(asked: AskedImages, folder: Path) -> None:
    def at_times(seen: Seen, predictions: Predictions) -> Predictions | None:
        if seen.number < 3:
            return None
        return [{"id": each["id"], "class": "dog"} for each in predictions]

    with serving(asked, at_times) as vendor, pytest.raises(DataError, match="some without"):
        _ask(vendor, asked, folder, concurrency=1)


def test_waits_grow_and_are_never_in_step(
    monkeypatch: pytest.MonkeyPatch, asked: AskedImages, folder: Path
) -> None:
    monkeypatch.setattr(client_module, "FIRST_WAIT_S", 1.0)
    monkeypatch.setattr(client_module, "LONGEST_WAIT_S", 5.0)
    longest: list[float] = []

    def record(low: float, high: float) -> float:
        assert low == 0
        longest.append(high)
        return 0.0

    monkeypatch.setattr("random.uniform", record)
    for number, headers in enumerate(({}, {"Retry-After": "0"})):
        reply = _always(Raw(b"", 500, headers))
        with serving(asked, reply) as vendor, pytest.raises(DataError):
            _ask(vendor, asked, folder.with_name(str(number)), retries=5, concurrency=1)

    assert longest == [1, 2, 4, 5, 5] * 2
