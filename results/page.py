"""The figures of one model as a page for people, 80 columns or wider.

print_page(figures_of(found), found.run_dir, Console())

Names of models and classes are shown through `Text`, so that rich reads no markup in them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from harness.record import read_record
from results.calibration import NUM_BINS, Calibration
from results.console_parts import empty_table, print_lines, print_title
from results.figures import Figures
from results.metrics import ClassFigures, Share
from results.robustness import read_robustness, robustness_table
from results.selective import SelectivePoint
from results.store import one_line

MAX_CLASSES = 20
"""Rows of the table of classes; of more, those of lowest recall are shown."""

MAX_CONFUSIONS = 8
UNKNOWN = "—"

_LABEL_WIDTH = 16
_NAME_LENGTH = 24
_BAR_LENGTH = 20


def print_page(figures: Figures, run_dir: Path | None, console: Console) -> None:
    """Print every section that there is something to say in.

    Args:
        figures: of one model.
        run_dir: the folder of a run, in which sections may find more; None for a file.
        console: where to.
    """
    for section in _SECTIONS:
        section(figures, console)
    if run_dir is not None:
        for run_section in _RUN_SECTIONS:
            run_section(run_dir, console)


def _print_summary(figures: Figures, console: Console) -> None:
    console.print(Text(figures.name, style="bold"))
    console.print()
    lines = [("accuracy", f"{_share(figures.accuracy)}, {_counts(figures.accuracy)} images")]
    if figures.top5 is not None:
        lines.append(("top-5 accuracy", _share(figures.top5)))
    means = (figures.macro_precision, figures.macro_recall, figures.macro_f1)
    words = (
        f"{name} {_percent(mean)}" for name, mean in zip(("precision", "recall", "F1"), means, strict=True)
    )
    lines.append(("class mean, %", ", ".join(words)))
    if figures.calibration is not None:
        lines += _calibration_lines(figures, figures.calibration)
        lines.append(("AURC", f"{figures.aurc:.5f} (area under risk-coverage; 0 is best)"))
        lines += _selective_lines(figures)
    else:
        lines.append(("calibration", f"{UNKNOWN} ({figures.reasons['calibration']})"))
    print_lines(lines, console, _LABEL_WIDTH)


def _calibration_lines(figures: Figures, before: Calibration) -> list[tuple[str, str]]:
    nll = f"{UNKNOWN} ({figures.reasons['nll']})" if before.nll is None else f"{before.nll:.4f} nats"
    lines = [
        ("NLL", nll),
        ("Brier score", f"{before.brier:.4f} (summed over the classes, 0 to 2)"),
        (
            "ECE",
            f"{before.ece_percent:.2f}% in {NUM_BINS} bins of equal width, "
            f"{before.ece_equal_mass_percent:.2f}% of equal mass; largest gap {before.mce_percent:.1f}%",
        ),
    ]
    fit, after = figures.temperature, figures.calibration_after
    if fit is None or after is None:
        return [*lines, ("temperature", f"{UNKNOWN} ({figures.reasons['temperature']})")]
    words = f"{fit.temperature:.3g}, fitted on the validation images"
    if fit.at_bound:
        words += f" ({figures.reasons['temperature']})"
    nll = UNKNOWN if after.nll is None else f"{after.nll:.4f} nats"
    return [
        *lines,
        ("temperature", words),
        (
            "  with it",
            f"NLL {nll}, Brier {after.brier:.4f}, ECE {after.ece_percent:.2f}% and "
            f"{after.ece_equal_mass_percent:.2f}%",
        ),
    ]


def _selective_lines(figures: Figures) -> list[tuple[str, str]]:
    honest, oracle = figures.coverage_at_99, figures.coverage_at_99_oracle
    return [
        (
            "99% right",
            f"{UNKNOWN} ({figures.reasons['coverage_at_99']})"
            if honest is None
            else f"threshold picked on validation images: {_point(honest)}",
        ),
        (
            "  at best",
            f"{UNKNOWN} ({figures.reasons['coverage_at_99_oracle']})"
            if oracle is None
            else f"threshold picked on the test images themselves: {_point(oracle)}",
        ),
    ]


def _point(point: SelectivePoint) -> str:
    accuracy = "no image" if point.accuracy is None else f"{_share(point.accuracy)} right"
    return f"confidence ≥ {point.threshold:.5f} covers {_share(point.coverage)}, of which {accuracy}"


def _print_human(figures: Figures, console: Console) -> None:
    human = figures.human
    if human is None:
        return
    lines = [
        ("one judgement", f"{_share(human.judgements)} right"),
        ("majority", f"{_share(human.majority)} right"),
        ("disputed", f"{_share(human.disputed)} of the images: not all people agree"),
    ]
    for label, share, words in (
        ("errors disputed", human.errors_disputed, "are on such images"),
        ("  misjudged", human.errors_misjudged, "are on images that the majority gets wrong too"),
        ("  shared", human.errors_seen_by_people, "name a class that a person named too"),
    ):
        if share is not None:
            lines.append((label, f"{_share(share)} of the model's errors {words}"))
    for label, value, words in (
        (
            "cross-entropy",
            human.cross_entropy,
            f"nats to the human distribution; at best {human.human_entropy:.4f}",
        ),
        ("KL divergence", human.kl_divergence, "nats"),
        ("JS divergence", human.js_divergence, "nats, 0 to 0.6931"),
        ("rank correlation", human.confidence_agreement_correlation, "of confidence with people's agreement"),
    ):
        if value is not None:
            lines.append((label, f"{value:.4f} {words}"))
    for reason in dict.fromkeys(human.reasons.values()):
        names = [name.replace("_", " ") for name, why in human.reasons.items() if why == reason]
        lines.append(("no figure", f"{', '.join(names)}: {reason}"))
    print_title("People (CIFAR-10H)", console)
    print_lines(lines, console, _LABEL_WIDTH)


def _print_classes(figures: Figures, console: Console) -> None:
    rows = list(zip(figures.class_names, figures.classes, strict=True))
    title = "Classes"
    if len(rows) > MAX_CLASSES:
        rows = sorted(rows, key=lambda row: 2.0 if row[1].recall is None else row[1].recall)[:MAX_CLASSES]
        title = f"The {MAX_CLASSES} classes of lowest recall, of {len(figures.classes):,} (--json has all)"
    print_title(title, console)
    table = empty_table("class", "images", "recall %", "precision %", "F1 %")
    for name, each in rows:
        table.add_row(_name(name), *_class_cells(each))
    console.print(table)


def _class_cells(each: ClassFigures) -> list[str]:
    return [f"{each.num_images:,}", *(_percent(value) for value in (each.recall, each.precision, each.f1))]


def _print_confusions(figures: Figures, console: Console) -> None:
    _print_matrix(figures, console)
    wrong = figures.confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MAX_CONFUSIONS]
    pairs = [divmod(int(cell), len(wrong)) for cell in order]
    pairs = [(true, taken) for true, taken in pairs if wrong[true, taken]]
    if not pairs:
        return
    print_title("Most frequent confusions", console)
    table = empty_table("class", "images", "% of class", "taken for")
    table.columns[-1].justify = "left"
    for true, taken in pairs:
        count = int(wrong[true, taken])
        share = f"{100 * count / figures.classes[true].num_images:.1f}"
        table.add_row(
            _name(figures.class_names[true]), f"{count:,}", share, _name(figures.class_names[taken])
        )
    console.print(table)


def _print_matrix(figures: Figures, console: Console) -> None:
    """The confusion matrix, where it fits; columns are numbered like the rows."""
    confusion = figures.confusion
    numbered = figures.class_names == tuple(str(index) for index in range(len(confusion)))
    names = [Text("") if numbered else _name(name) for name in figures.class_names]
    cell_width = max(len(str(confusion.max())), len(str(len(names) - 1))) + 1
    name_width = max(cell_len(name.plain) for name in names)
    index_width = len(str(len(names) - 1))
    if index_width + 1 + name_width + len(names) * cell_width > console.width or len(names) > MAX_CLASSES:
        return
    print_title("Confusions: the true class in rows, what it was taken for in columns", console)
    header = "".join(f"{index:>{cell_width}}" for index in range(len(names)))
    console.print(Text(" " * (index_width + 1 + name_width) + header, style="dim"))
    for index, (name, counts) in enumerate(zip(names, confusion.tolist(), strict=True)):
        line = Text(f"{index:>{index_width}} ") + name + " " * (name_width - cell_len(name.plain))
        for column, count in enumerate(counts):
            style = "bold" if column == index else "" if count else "dim"
            line.append(f"{count or '·':>{cell_width}}", style=style)
        console.print(line)


def _print_reliability(figures: Figures, console: Console) -> None:
    if figures.calibration is None:
        return
    print_title("Reliability: accuracy by confidence", console)
    table = empty_table("confidence", "images", "mean conf. %", "accuracy %", "gap", "accuracy")
    table.columns[-1].justify = "left"
    for entry in figures.calibration.reliability:
        if entry.accuracy is None or entry.mean_confidence is None:
            continue
        gap = 100 * (entry.accuracy - entry.mean_confidence)
        table.add_row(
            f"{entry.low:.2f}-{entry.high:.2f}",
            f"{entry.num_images:,}",
            _percent(entry.mean_confidence),
            _percent(entry.accuracy),
            f"{gap:+.1f}",
            "█" * round(_BAR_LENGTH * entry.accuracy),
        )
    console.print(table)


def _print_risk_coverage(figures: Figures, console: Console) -> None:
    if not figures.risk_coverage:
        return
    print_title("Answering only what the model is sure of", console)
    table = empty_table("coverage %", "confidence ≥", "wrong", "accuracy %", "95% interval")
    for point in figures.risk_coverage:
        accuracy = point.accuracy
        assert accuracy is not None
        table.add_row(
            f"{point.coverage.percent:.1f}",
            f"{point.threshold:.5f}",
            f"{accuracy.n - accuracy.count:,}",
            f"{accuracy.percent:.2f}",
            f"[{accuracy.low_percent:.2f}, {accuracy.high_percent:.2f}]",
        )
    console.print(table)


_SECTIONS: tuple[Callable[[Figures, Console], None], ...] = (
    _print_summary,
    _print_human,
    _print_classes,
    _print_confusions,
    _print_reliability,
    _print_risk_coverage,
)
"""In the order of the page; each prints nothing where it has nothing to say."""


def _print_robustness(run_dir: Path, console: Console) -> None:
    record = read_record(run_dir)
    found = None if record is None else read_robustness(run_dir, record)
    if found is not None:
        print_title("Robustness", console)
        console.print(robustness_table(found))


_RUN_SECTIONS: tuple[Callable[[Path, Console], None], ...] = (_print_robustness,)
"""What else a run folder holds, below the page."""


def _name(name: str) -> Text:
    return Text(one_line(name, _NAME_LENGTH))


def _share(share: Share) -> str:
    return f"{share.percent:.2f}% [{share.low_percent:.2f}, {share.high_percent:.2f}]"


def _counts(share: Share) -> str:
    return f"{share.count:,} of {share.n:,}"


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{100 * share:.1f}"
