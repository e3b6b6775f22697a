"""The one declared way of setting accuracy against compute.

    accuracy per PFLOP = test accuracy in percent / total training compute in PFLOP

1 PFLOP = 1e15 FLOPs, 1 multiply-add = 2 FLOPs, forward and backward, over all epochs.

The ratio alone would crown a model too weak to be worth having: accuracy cannot rise above 100%,
while compute can shrink without end, so an MLP trained for one epoch beats everything. A bar
therefore comes first: what we build must be better than what the vendor sells. Cells that clear
the bar (the lower end of the Wilson interval of their test accuracy lies above the accuracy that
Detectocorp claims) stand first, ordered by the ratio; those below it come after, ordered likewise.

The claims are about CIFAR-10. On other data the bar is kept as a mere threshold, and no share of
GPipe's accuracy is given.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.interval import wilson_interval
from results.references import load_references
from results.store import Run


@dataclass(frozen=True)
class Score:
    """What one finished run achieved, and at what cost."""

    accuracy_percent: float
    accuracy_low_percent: float
    accuracy_high_percent: float
    """Ends of the 95% Wilson interval."""

    total_train_pflop: float
    accuracy_per_pflop: float
    clears_vendor_bar: bool
    share_of_gpipe_accuracy_percent: float | None
    """None on data other than CIFAR-10."""

    share_of_gpipe_params_percent: float


def vendor_bar_percent() -> float:
    """The accuracy that a cell has to beat: the one that Detectocorp claims."""
    return load_references()["detectocorp"].accuracy_percent


def score_run(run: Run) -> Score:
    """Score a finished run."""
    record, scores = run.record, run.scores
    assert scores is not None
    assert record.model is not None
    assert record.data is not None
    gpipe = load_references()["gpipe"]
    assert gpipe.num_params is not None
    accuracy_percent = scores.test_accuracy_percent
    low, high = wilson_interval(scores.test_correct, scores.num_test)
    pflop = record.model.total_train_flops / 1e15
    share = 100 * accuracy_percent / gpipe.accuracy_percent if record.data.dataset == gpipe.dataset else None
    return Score(
        accuracy_percent=accuracy_percent,
        accuracy_low_percent=100 * low,
        accuracy_high_percent=100 * high,
        total_train_pflop=pflop,
        accuracy_per_pflop=accuracy_percent / pflop,
        clears_vendor_bar=100 * low > vendor_bar_percent(),
        share_of_gpipe_accuracy_percent=share,
        share_of_gpipe_params_percent=100 * record.model.num_params / gpipe.num_params,
    )


def ranked(runs: list[Run]) -> list[tuple[Run, Score]]:
    """The finished ones of `runs` with their scores, best value first; see the module's docstring."""
    scored = [(run, score_run(run)) for run in runs if run.scores is not None]
    return sorted(
        scored,
        key=lambda pair: (
            not pair[1].clears_vendor_bar,
            -pair[1].accuracy_per_pflop,
            pair[0].record.cell_id,
        ),
    )
