"""The audit of the vendor: what was measured of it, against what it claims."""

from __future__ import annotations

from dataclasses import dataclass

from results.audit.result import Audit
from results.report.text import duration, fixed, signed, significant
from results.report.values import Column, Entry, Table
from results.store import one_line


@dataclass(frozen=True)
class AuditShown:
    """What the section about the vendor shows."""

    vendor: str
    answer: str
    facts: Table
    weak_classes: Table
    better: str
    """The cheapest run of ours that beats it, or why there is none."""

    better_cell_id: str | None
    notes: tuple[str, ...]


def audit_shown(audit: Audit) -> AuditShown:
    """The section about the vendor."""
    better = audit.cheapest_better
    return AuditShown(
        vendor=one_line(audit.vendor, 80),
        answer=_answer(audit),
        facts=_facts(audit),
        weak_classes=_weak_classes(audit),
        better=_better(audit),
        better_cell_id=None if better is None else better.cell_id,
        notes=tuple(one_line(note, 400) for note in audit.stored.notes),
    )


def _answer(audit: Audit) -> str:
    share, claim = audit.accuracy, audit.claim
    text = (
        f"{one_line(audit.vendor, 80)} is right on {share.percent:.2f}% of {share.n:,} images "
        f"(95% interval {share.low_percent:.2f} to {share.high_percent:.2f})"
    )
    if claim is None:
        return f"{text}. It claims no accuracy."
    relation = "agrees with" if claim.consistent else f"is {claim.direction}, which is"
    return (
        f"{text}: that {relation} {audit.stored.claim_percent:g}% (exact two-sided p = {claim.p_value:.2g})."
    )


def _facts(audit: Audit) -> Table:
    stored, figures = audit.stored, audit.figures
    rows = [
        ("audited", stored.audited_at),
        ("from", f"{stored.kind}: {stored.source}"),
        ("sha256", stored.source_sha256),
        ("images", f"{stored.num_images:,} of {stored.images}"),
        ("source of the claim", stored.claim_source),
    ]
    if figures.calibration is not None:
        rows.append(("calibration error", f"{figures.calibration.ece_percent:.2f}%"))
    if stored.price_per_1000_images_usd is not None:
        rows.append(("price per 1,000 images", f"{stored.price_per_1000_images_usd:g} USD"))
    if audit.billed_usd is not None:
        rows.append(("billed for the audit", f"{audit.billed_usd:,.2f} USD"))
    if stored.endpoint is not None:
        found = stored.endpoint
        rows += [
            ("requests", f"{found.num_requests:,} of up to {found.images_per_request:,} images"),
            (
                "latency of a request",
                f"{found.latency_p50_ms:,.0f} ms median, {found.latency_p99_ms:,.0f} ms 99th percentile",
            ),
            ("answers that changed", f"{found.num_changed:,} of {found.num_again:,} images sent again"),
        ]
    return Table(
        "audit-facts",
        "What the audit found",
        (Column("", "text"), Column("", "text")),
        tuple((Entry(name), Entry(one_line(text, 300))) for name, text in rows),
    )


def _weak_classes(audit: Audit) -> Table:
    return Table(
        "audit-weak-classes",
        "Classes that it recognizes significantly less often than images on the whole",
        (
            Column("class", "text"),
            Column("recall, %"),
            Column("95% from"),
            Column("to"),
            Column("images"),
            Column("p, adjusted"),
        ),
        tuple(
            (
                Entry(one_line(weak.name, 40)),
                Entry(fixed(weak.recall.percent), repr(weak.recall.percent)),
                Entry(fixed(weak.recall.low_percent), repr(weak.recall.low_percent)),
                Entry(fixed(weak.recall.high_percent), repr(weak.recall.high_percent)),
                Entry(f"{weak.recall.n:,}", str(weak.recall.n)),
                Entry(f"{weak.p_value:.2g}", repr(weak.p_value)),
            )
            for weak in audit.weak_classes
        ),
        note="" if audit.weak_classes else "None.",
    )


def _better(audit: Audit) -> str:
    found = audit.cheapest_better
    if found is None:
        reason = audit.stored.cheapest_better_reason or "no run was compared"
        return f"No run of ours is known to beat it: {one_line(reason, 300)}."
    compared = found.comparison
    return (
        f"The cheapest run of ours that beats it is {one_line(found.name, 80)}: "
        f"{signed(compared.difference_points, 2)} points (95% interval {signed(compared.low_points, 2)} to "
        f"{signed(compared.high_points, 2)}; exact McNemar, adjusted p = {found.adjusted_p_value:.2g}), for "
        f"{significant(found.total_train_pflop)} PFLOP and {duration(found.train_time_s)} of training."
    )
