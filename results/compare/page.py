"""Two systems side by side as a page for people, 80 columns or wider.

print_pair(a, b, num_images=10, console=Console())
"""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from results.compare.details import (
    ClassComparison,
    DiscordantImage,
    compare_classes,
    discordant_images,
    names_of_classes,
    surest_mistakes_first,
)
from results.compare.paired import PairedComparison, compare_pair
from results.compare.parts import (
    class_name,
    print_dropped,
    print_lines,
    print_notes,
    print_sentence,
    system_name,
)
from results.compare.several import Pair
from results.compare.wording import interval, listed, notes, p_text, points, rounded, verdict
from results.console_parts import Row, empty_table, fitting_table, print_title
from results.metrics import share_of
from results.predictions import PredictionSet

MAX_CLASSES = 20
"""Rows of the table of classes; of more, those of smallest p-value are shown."""

MAX_INDICES = 12
"""Images of each side that are named by their place when none are listed."""

UNKNOWN = "—"


def print_pair(a: PredictionSet, b: PredictionSet, num_images: int, console: Console) -> None:
    """Print what tells two systems apart: as a sentence, in figures, by class, by image.

    Args:
        a: the first.
        b: the second.
        num_images: how many images to list that one alone got right.
        console: where to.

    Raises:
        DataError: they were not asked about the same images in the same order.
    """
    found = compare_pair(a, b)
    print_sentence(verdict(found), console)
    _print_systems(found, console)
    _print_figures(found, console)
    print_notes(notes((a, b), [Pair(0, 1, found, found.p_value)]), console)
    _print_classes(compare_classes(a, b), console)
    images = discordant_images(a, b)
    if num_images:
        _print_images(
            surest_mistakes_first(images)[:num_images], len(images), names_of_classes(a, b), console
        )
    else:
        _print_places(images, console)


def _print_systems(found: PairedComparison, console: Console) -> None:
    shown = empty_table("", "system", "accuracy %", "95% interval", "right", "alone right")
    shown.columns[1].justify = "left"
    shown.columns[1].no_wrap = False
    rows = (
        ("A", found.name_a, found.correct_a, found.only_a),
        ("B", found.name_b, found.correct_b, found.only_b),
    )
    for letter, system, correct, alone in rows:
        share = share_of(correct, found.n)
        shown.add_row(
            letter,
            system_name(system),
            points(share.percent, found.n),
            interval(share.low_percent, share.high_percent, found.n),
            f"{correct:,}",
            f"{alone:,}",
        )
    console.print()
    console.print(shown)
    console.print()


def _print_figures(found: PairedComparison, console: Console) -> None:
    n = found.n
    discordant = found.only_a + found.only_b
    lines = [
        ("A minus B", f"{points(found.difference_points, n, sign=True)} points"),
        ("  Newcombe", f"{interval(found.low_points, found.high_points, n, sign=True)} 95% score interval"),
        (
            "  bootstrap",
            f"{interval(found.bootstrap_low_points, found.bootstrap_high_points, n, sign=True)} "
            "95% percentiles, images resampled",
        ),
        (
            "p-value",
            f"{p_text(found.p_value)} exact McNemar: {found.only_a:,} against {found.only_b:,} of the "
            f"{discordant:,} images that one alone got right",
        ),
        ("resolvable", _resolvable(found)),
    ]
    if found.images_for_power is not None:
        lines.append(
            (
                "images needed",
                f"about {rounded(found.images_for_power)} for a chance of 80% to resolve it, "
                f"if {points(abs(found.difference_points), n)} points were the true difference",
            )
        )
    print_lines(lines, console)


def _resolvable(found: PairedComparison) -> str:
    if found.resolvable_points > 100:
        return "nothing: fewer than six images never resolve a difference"
    if found.only_a + found.only_b < 6:
        return (
            f"{points(found.resolvable_points, found.n)} points or more: "
            "at least six images must differ, all to one side"
        )
    return (
        f"{points(found.resolvable_points, found.n)} points or more, "
        "with as many images that one alone gets right"
    )


def _print_classes(classes: tuple[ClassComparison, ...], console: Console) -> None:
    differing = [each.name for each in classes if each.resolved]
    num_more = len(classes) - MAX_CLASSES
    words = f"they differ on {listed(differing)}" if differing else "no class differs significantly"
    print_title(f"Classes: {words} (Holm over {len(classes):,} classes)", console)
    rows: list[Row] = [
        ([class_name(each.name), *_class_cells(each)], "bold" if each.resolved else "")
        for each in sorted(classes, key=lambda each: each.p_value)[:MAX_CLASSES]
    ]
    headers = ("class", "images", "A %", "B %", "A − B", "only A", "only B", "p", "p Holm")
    shown, dropped = fitting_table(headers, rows, ("p", "only B", "only A", "images"), console)
    console.print(shown)
    print_dropped(dropped, console)
    if num_more > 0:
        console.print(Text(f"and {num_more:,} classes of larger p (--json has all)", style="dim"))


def _class_cells(each: ClassComparison) -> list[str]:
    counts = [f"{each.only_a:,}", f"{each.only_b:,}", p_text(each.p_value), p_text(each.p_holm)]
    if each.difference_points is None:
        return ["0", UNKNOWN, UNKNOWN, UNKNOWN, *counts]
    recalls = [f"{100 * correct / each.num_images:.1f}" for correct in (each.correct_a, each.correct_b)]
    return [f"{each.num_images:,}", *recalls, points(each.difference_points, 1, sign=True), *counts]


def _print_places(images: tuple[DiscordantImage, ...], console: Console) -> None:
    if not images:
        return
    print_title("Images that one alone got right (--images N lists them, --json has all)", console)
    lines = []
    for letter in ("A", "B"):
        places = [str(image.index) for image in images if image.right == letter.lower()]
        more = f" and {len(places) - MAX_INDICES:,} more" if len(places) > MAX_INDICES else ""
        lines.append((f"only {letter}", f"{', '.join(places[:MAX_INDICES])}{more}" if places else "none"))
    print_lines(lines, console)


def _print_images(
    images: list[DiscordantImage], num_all: int, names: tuple[str, ...], console: Console
) -> None:
    title = f"{len(images):,} of {num_all:,} images that one alone got right"
    knows_any = any(image.confidence_a is not None or image.confidence_b is not None for image in images)
    print_title(f"{title}, surest mistakes first" if knows_any else title, console)
    shown = empty_table("image", "true class", "A says", "B says", "right")
    for column in shown.columns[1:]:
        column.justify = "left"
    for image in images:
        shown.add_row(
            str(image.index),
            class_name(names[image.label]),
            _answer(names[image.class_a], image.confidence_a),
            _answer(names[image.class_b], image.confidence_b),
            image.right.upper(),
        )
    console.print(shown)


def _answer(answer: str, confidence: float | None) -> Text:
    return class_name(answer) + ("" if confidence is None else f" {100 * confidence:.1f}%")
