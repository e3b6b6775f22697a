"""An audit as a page for people, 80 columns or wider, and as JSON for programs.

print_audit(read_audit(Path("audits/detectocorp")), Console())

Names of vendors, classes and files are shown through `Text`, so that rich reads no markup in them.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from results.audit.better_run import BetterRun
from results.audit.facts import EndpointFacts
from results.audit.result import Audit
from results.console_parts import empty_table, print_lines, print_title
from results.metrics import Share, share_of
from results.store import one_line

UNKNOWN = "—"
MAX_CLASSES = 20

_LABEL_WIDTH = 16
_NAME_LENGTH = 24
_TEXT_LENGTH = 300

Lines = list[tuple[str, str]]


def print_audit(audit: Audit, console: Console) -> None:
    """Print the verdict on a vendor, what it rests on, and what was measured beside it."""
    stored = audit.stored
    console.print(Text(f"Audit of {one_line(audit.vendor, 80)}", style="bold"))
    console.print()
    print_lines(_measured(audit), console, _LABEL_WIDTH)
    _print_weak_classes(audit, console)
    print_title("The cheapest run of ours that is significantly better", console)
    print_lines(_better_lines(audit), console, _LABEL_WIDTH)
    if stored.endpoint is not None:
        print_title("Endpoint", console)
        print_lines(_endpoint_lines(stored.endpoint), console, _LABEL_WIDTH)
    cost = _cost_lines(audit)
    if cost:
        print_title("Price", console)
        print_lines(cost, console, _LABEL_WIDTH)
    for note in stored.notes:
        console.print()
        console.print(Text(f"Note: {one_line(note, _TEXT_LENGTH)}", style="yellow"))
    console.print()
    console.print(Text(f"{audit.folder} keeps the predictions: show and compare read it.", style="dim"))


def audit_json(audit: Audit) -> str:
    """Everything that is stored, and every figure that follows; a missing one is null."""
    content: dict[str, Any] = {
        "vendor": audit.vendor,
        "accuracy": asdict(audit.accuracy),
        "claim_percent": audit.stored.claim_percent,
        "claim": None if audit.claim is None else asdict(audit.claim),
        "weak_classes": [asdict(weak) for weak in audit.weak_classes],
        "price_usd": audit.price_usd,
        "billed_usd": audit.billed_usd,
        "stored": audit.stored.model_dump(mode="json"),
        "figures": asdict(audit.figures),
    }
    return json.dumps(content, default=lambda value: value.tolist(), indent=1, allow_nan=False)


def _measured(audit: Audit) -> Lines:
    stored, calibration = audit.stored, audit.figures.calibration
    fingerprint = (
        "labels only" if stored.test_fingerprint is None else f"fingerprint {stored.test_fingerprint[:8]}"
    )
    lines = [
        ("accuracy", f"{_share(audit.accuracy)}, {audit.accuracy.count:,} of {audit.accuracy.n:,} images"),
        ("test images", f"{one_line(stored.images, 60)} ({fingerprint})"),
        ("predictions", f"{one_line(stored.source, _TEXT_LENGTH)}, {audit.predictions.known}"),
        ("claim", _claim(audit)),
    ]
    if calibration is None:
        return [*lines, ("calibration", f"{UNKNOWN} ({audit.figures.reasons['calibration']})")]
    nll = UNKNOWN if calibration.nll is None else f"{calibration.nll:.4f} nats"
    words = f"ECE {calibration.ece_percent:.2f}%, NLL {nll}, Brier {calibration.brier:.4f}"
    return [*lines, ("calibration", words)]


def _claim(audit: Audit) -> str:
    stored, claim = audit.stored, audit.claim
    if claim is None:
        return f"{UNKNOWN} ({one_line(stored.claim_source, _TEXT_LENGTH)})"
    verdict = "consistent with what was measured" if claim.consistent else f"measured: {claim.direction}"
    return (
        f"{stored.claim_percent:g}% ({one_line(stored.claim_source, _TEXT_LENGTH)}): {verdict}, "
        f"exact binomial p {_p(claim.p_value)}"
    )


def _print_weak_classes(audit: Audit, console: Console) -> None:
    print_title("Classes recognized significantly less often than the average image", console)
    if not audit.weak_classes:
        console.print("none")
        return
    table = empty_table("class", "images", "recall %", "95% interval", "p (Holm)")
    for weak in audit.weak_classes[:MAX_CLASSES]:
        recall = weak.recall
        table.add_row(
            Text(one_line(weak.name, _NAME_LENGTH)),
            f"{recall.n:,}",
            f"{recall.percent:.1f}",
            f"[{recall.low_percent:.1f}, {recall.high_percent:.1f}]",
            _p(weak.p_value),
        )
    console.print(table)
    left = len(audit.weak_classes) - MAX_CLASSES
    if left > 0:
        console.print(f"and {left:,} more: --json has all")


def _better_lines(audit: Audit) -> Lines:
    stored, run = audit.stored, audit.cheapest_better
    lines: Lines = []
    if run is None:
        lines.append(("none", one_line(stored.cheapest_better_reason or "", _TEXT_LENGTH)))
    else:
        lines += _run_lines(run)
    if stored.same_images_by is not None:
        words = f"{stored.num_runs_compared:,} run(s), the same images by {stored.same_images_by}"
        lines.append(("compared", words))
    if stored.num_runs_on_other_images:
        lines.append(("left out", f"{stored.num_runs_on_other_images:,} run(s) on other test images"))
    return lines


def _run_lines(run: BetterRun) -> Lines:
    found = run.comparison
    latency = "not measured" if run.latency_batch1_p50_ms is None else f"{run.latency_batch1_p50_ms:.3g} ms"
    if run.inference_images_per_s is not None:
        latency += f"; {run.inference_images_per_s:,.0f} images/s in batches"
    where = "" if run.device is None else f" on {one_line(run.device, 60)}"
    return [
        ("run", f"{one_line(run.name, 80)}, cell {run.cell_id} ({run.league})"),
        ("accuracy", f"{100 * found.correct_a / found.n:.2f}%, {found.correct_a:,} of {found.n:,} images"),
        (
            "difference",
            f"{found.difference_points:+.2f} points [{found.low_points:+.2f}, {found.high_points:+.2f}], "
            f"exact McNemar p {_p(found.p_value)}, {_p(run.adjusted_p_value)} after Holm",
        ),
        ("training", f"{run.total_train_pflop:.4g} PFLOP, {run.train_time_s:,.1f} s{where}"),
        ("one image", latency),
    ]


def _endpoint_lines(facts: EndpointFacts) -> Lines:
    tries = ", ".join(f"{count:,} × {one_line(reason, 40)}" for reason, count in facts.failures.items())
    lines = [
        (
            "requests",
            f"{facts.num_requests:,} of up to {facts.images_per_request:,} images, "
            f"up to {facts.concurrency:,} at once",
        ),
        (
            "latency",
            f"p50 {facts.latency_p50_ms:,.0f} ms, p95 {facts.latency_p95_ms:,.0f} ms, "
            f"p99 {facts.latency_p99_ms:,.0f} ms a request",
        ),
    ]
    if facts.latency_single_p50_ms is not None:
        lines.append(("  one image", f"p50 {facts.latency_single_p50_ms:,.0f} ms"))
    lines.append(("failed tries", tries or "none"))
    if facts.num_again:
        changed = share_of(facts.num_changed, facts.num_again)
        lines.append(("sent again", f"{facts.num_again:,} images, {_share(changed)} changed their class"))
    else:
        lines.append(("sent again", "no image: whether answers are steady is not known"))
    return lines


def _cost_lines(audit: Audit) -> Lines:
    if audit.price_usd is None:
        return []
    price = audit.stored.price_per_1000_images_usd
    lines = [("test images", f"${audit.price_usd:,.2f} at ${price:g} per 1,000 images, as given")]
    facts = audit.stored.endpoint
    if facts is not None and audit.billed_usd is not None:
        words = f"${audit.billed_usd:,.2f} for {facts.num_images_answered:,} answers; failed tries left out"
        lines.append(("this audit", words))
    return lines


def _share(share: Share) -> str:
    return f"{share.percent:.2f}% [{share.low_percent:.2f}, {share.high_percent:.2f}]"


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"= {value:.4f}"
