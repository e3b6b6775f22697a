"""What the report cannot say, in sentences that follow from what there is."""

from __future__ import annotations

from collections.abc import Iterator

from results.report.build import Report
from results.report.values import Missing


def limits_of(report: Report) -> Iterator[str]:
    """One sentence for each limit."""
    for shown in report.boards:
        board = shown.board
        if board.is_cifar10 and not board.is_claimed_test_set:
            yield (
                f"{board.title}: these are not the 10,000 official test images that the claims are about; "
                "accuracy on the official ones may differ by a few tenths of a point or more."
            )
    yield (
        "Test images are a sample. An interval says how far the accuracy on other images of the same kind "
        "may lie; it says nothing about images of another kind, such as the buyer's own."
    )
    yield (
        "The leading runs are picked among many by figures of the test images: the best of many looks better "
        "than it is. The run that is recommended was picked on validation images."
    )
    if isinstance(report.audit, Missing):
        yield "The vendor's accuracy is its own claim; nobody has measured it here."
    if any(isinstance(shown.corruptions, Missing) for shown in report.boards):
        yield "Robustness to corruption was not measured of all the leading runs."
    yield (
        "Times, memory, latency and energy hold for the machine that a run names. Seeds differ by chance: "
        "where a cell was run once, its spread is not known."
    )
    yield (
        "Pre-trained models and models trained from scratch are different leagues. The compute that made "
        "weights is not counted."
    )
    if not isinstance(report.money, Missing):
        yield (
            "Costs rest on assumptions, of which many have no source; what one error costs and how many "
            "images there are is the buyer's to say."
        )
    yield "GPipe's compute was counted from its architecture and is a lower bound; its accuracy is a claim."
    if report.num_unfinished:
        yield f"{report.num_unfinished:,} runs had not finished when this was made."
    if report.warnings:
        num_left_out = len(report.warnings) + report.num_warnings_left_out
        yield f"{num_left_out:,} runs could not be trusted and are in no figure."
