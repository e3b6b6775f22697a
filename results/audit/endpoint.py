"""Ask a vendor's endpoint about every test image, and about some of them twice.

    told = ask_endpoint("Detectocorp", asked, address, Asking(...), Path("audits/detectocorp"))
    told.predictions, told.facts

Images are sent in a random order under ids that say nothing about it. At the end a sample is sent again,
each image alone: where batches are answered in the wrong order, or at random, the answers change.
"""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from harness.datasets.progress import progress
from harness.errors import VerdictError
from results.audit.address import Address
from results.audit.client import Client, Patience, Stopped
from results.audit.facts import EndpointFacts
from results.audit.images import AskedImages
from results.audit.journal import AnswerLine, FailureLine, HeaderLine, Journal, open_journal
from results.audit.protocol import image_id, max_reply_bytes, read_reply, request_body
from results.metrics import Array
from results.predictions import PredictionSet
from results.store import one_line

_LONGEST_SPAN = timedelta(days=1)

Batch = tuple[int, ...]
"""Positions of images in the test set."""


@dataclass(frozen=True)
class Asking:
    """How an endpoint is asked."""

    batch_size: int
    concurrency: int
    num_again: int
    """Images that are sent a second time."""

    patience: Patience


@dataclass(frozen=True)
class Told:
    """What an endpoint said."""

    predictions: PredictionSet
    facts: EndpointFacts
    last_answer_at: datetime
    notes: tuple[str, ...]
    """What a reader of the result must know about the time of the answers."""


def ask_endpoint(vendor: str, asked: AskedImages, address: Address, asking: Asking, folder: Path) -> Told:
    """Ask about every image that no earlier call into the same folder was told about.

    Args:
        vendor: its name.
        asked: the test images.
        address: of the endpoint.
        asking: how.
        folder: of the audit; its journal is read and added to.

    Raises:
        UsageError: the folder holds another audit, or the endpoint refuses requests.
        DataError: the endpoint does not answer, or not as `protocol.py` says; what it said is kept.
        StorageError: the journal cannot be written.
    """
    assert asked.images is not None
    assert asked.test_fingerprint is not None
    header = HeaderLine(
        vendor=vendor,
        endpoint=address.shown,
        endpoint_sha256=address.sha256,
        test_fingerprint=asked.test_fingerprint,
        num_images=len(asked.labels),
        class_names=asked.class_names,
        nonce=secrets.token_hex(16),
    )
    with open_journal(folder, header) as journal:
        try:
            _ask_all(asked, address, asking, journal)
        except VerdictError as error:
            num_answered = len(_positions(journal, again=False))
            raise type(error)(
                f"{address.hide_secrets(str(error))} ({num_answered:,} of {len(asked.labels):,} images are "
                "answered and kept: the same command goes on with the rest)"
            ) from None
        times = [entry.answered_at for entry in journal.answers]
        return Told(
            _predictions(vendor, asked, journal), _facts(address, journal), max(times), _time_notes(times)
        )


def _ask_all(asked: AskedImages, address: Address, asking: Asking, journal: Journal) -> None:
    order = np.random.default_rng(int(journal.header.nonce, 16)).permutation(len(asked.labels)).tolist()
    left = _left(order, journal, again=False)
    # Those that were sent first: what changes with time has had the most of it.
    left_again = _left(order[: asking.num_again], journal, again=True)
    stop = threading.Event()
    on_failure: Callable[[str], None] = lambda reason: journal.append(FailureLine(reason=reason))  # noqa: E731
    total = len(order) + min(asking.num_again, len(order))
    done = total - len(left) - len(left_again)
    with (
        Client(address, asking.patience, stop, on_failure) as client,
        progress("asking the vendor", total, "images", quiet=False, done=done) as advance,
    ):
        for positions, size, again in ((left, asking.batch_size, False), (left_again, 1, True)):
            send = _Sender(asked, client, journal, again, asking.concurrency)
            for num_images in _in_parallel(send, _batches(positions, size), asking.concurrency, stop):
                advance(num_images)


@dataclass(frozen=True)
class _Sender:
    """Sends one batch and writes down what is answered."""

    asked: AskedImages
    client: Client
    journal: Journal
    again: bool
    concurrency: int

    def __call__(self, batch: Batch) -> int:
        positions = list(batch)
        assert self.asked.images is not None
        ids = [image_id(self.journal.header.nonce, position, self.again) for position in batch]
        max_bytes = max_reply_bytes(len(batch), self.asked.class_names)
        reply = self.client.post(request_body(self.asked.images[positions], ids), max_bytes)
        sent = replace(self.asked, images=None, labels=self.asked.labels[positions])
        found = read_reply(reply.content, self.journal.header.endpoint, ids, sent)
        self.journal.append(
            AnswerLine(
                again=self.again,
                positions=batch,
                classes=tuple(found.classes.tolist()),
                probabilities=None if found.scores is None else tuple(map(tuple, found.scores.tolist())),
                latency_s=reply.latency_s,
                answered_at=datetime.now(UTC),
                concurrency=self.concurrency,
            )
        )
        return len(batch)


def _in_parallel(
    send: Callable[[Batch], int], batches: Iterable[Batch], concurrency: int, stop: threading.Event
) -> Iterator[int]:
    """What `send` returns for every batch; after an error nothing new is sent, and what is under way ends."""
    with ThreadPoolExecutor(concurrency) as pool:
        under_way: set[Future[int]] = set()
        try:
            for batch in batches:
                under_way.add(pool.submit(send, batch))
                if len(under_way) == concurrency:
                    done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    yield from _results(done)
            yield from _results(wait(under_way).done)
        except BaseException:
            stop.set()
            raise


def _results(done: Iterable[Future[int]]) -> list[int]:
    """Their results; of several errors the one that says most."""
    errors = [error for error in (future.exception() for future in done) if error is not None]
    if errors:
        raise min(errors, key=lambda error: isinstance(error, Stopped))
    return [future.result() for future in done]


def _left(positions: Sequence[int], journal: Journal, again: bool) -> list[int]:
    answered = _positions(journal, again)
    return [position for position in positions if position not in answered]


def _positions(journal: Journal, again: bool) -> set[int]:
    return {position for entry in journal.answers if entry.again == again for position in entry.positions}


def _batches(positions: Sequence[int], size: int) -> Iterator[Batch]:
    for start in range(0, len(positions), size):
        yield tuple(positions[start : start + size])


def _predictions(vendor: str, asked: AskedImages, journal: Journal) -> PredictionSet:
    first = [entry for entry in journal.answers if not entry.again]
    classes = np.zeros(len(asked.labels), np.int64)
    only_classes = first[0].probabilities is None
    scores: Array | None = None if only_classes else np.zeros((len(classes), len(asked.class_names)))
    for entry in first:
        classes[list(entry.positions)] = entry.classes
        if scores is not None:
            scores[list(entry.positions)] = entry.probabilities
    return PredictionSet(
        name=one_line(vendor),
        run_dir=None,
        known="classes" if scores is None else "probabilities",
        classes=classes,
        labels=asked.labels,
        class_names=asked.class_names,
        scores=scores,
        fingerprint=asked.test_fingerprint,
    )


def _time_notes(times: Sequence[datetime]) -> tuple[str, ...]:
    first, last = min(times), max(times)
    if last - first <= _LONGEST_SPAN:
        return ()
    return (
        f"the answers are from {first:%Y-%m-%d} to {last:%Y-%m-%d}: the vendor may have changed its model "
        "meanwhile",
    )


def _facts(address: Address, journal: Journal) -> EndpointFacts:
    first = [entry for entry in journal.answers if not entry.again]
    again = [entry for entry in journal.answers if entry.again]
    told = {at: index for entry in first for at, index in zip(entry.positions, entry.classes, strict=True)}
    num_changed = sum(told[entry.positions[0]] != entry.classes[0] for entry in again)
    latencies_ms = [1000 * entry.latency_s for entry in first]
    p50, p95, p99 = (float(value) for value in np.percentile(latencies_ms, (50, 95, 99)))
    return EndpointFacts(
        url=address.shown,
        num_requests=len(first),
        images_per_request=max(len(entry.positions) for entry in first),
        concurrency=max(entry.concurrency for entry in first),
        latency_p50_ms=p50,
        latency_p95_ms=p95,
        latency_p99_ms=p99,
        latency_single_p50_ms=float(np.median([1000 * entry.latency_s for entry in again]))
        if again
        else None,
        failures=dict(Counter(journal.failures).most_common()),
        num_images_answered=len(told) + len(again),
        num_again=len(again),
        num_changed=num_changed,
    )
