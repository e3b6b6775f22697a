"""How much compute a run needed until it was surely better than what the vendor claims.

crossing_of(record, bar_percent=70)    # epoch 2, 0.013 PFLOP

After each epoch the validation images were scored. The first epoch whose Wilson interval lies above the
bar counts, times the compute of an epoch. Validation images are held out from training, so no test image
is looked at; their number is smaller, which makes the interval wider and the figure cautious.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.interval import wilson_interval
from harness.record import Record


@dataclass(frozen=True)
class Crossing:
    """The first epoch after which a run's validation accuracy lay above the bar."""

    epoch: int
    """From 1."""

    pflop: float
    """Training compute until then, 1e15 FLOPs."""

    is_upper_bound: bool
    """Whether earlier epochs were cheaper than later ones, so that the true figure is lower."""

    val_accuracy_percent: float
    val_low_percent: float
    """Low end of the 95% Wilson interval."""

    num_val_images: int


def crossing_of(record: Record, bar_percent: float) -> Crossing | str:
    """The crossing of a finished run, or why there is none."""
    assert record.model is not None
    if not record.history:
        return "the record has no history"
    if not record.num_val_images:
        return "no validation images were held out"
    for row in record.history:
        if row.val_accuracy is None:
            continue
        num_right = round(row.val_accuracy * record.num_val_images)
        low = 100 * wilson_interval(num_right, record.num_val_images)[0]
        if low > bar_percent:
            recipe = record.cell.recipe
            return Crossing(
                epoch=row.epoch,
                pflop=_flops_until(record, row.epoch) / 1e15,
                is_upper_bound=recipe.start_scale < 1 or recipe.tuning == "gradual",
                val_accuracy_percent=100 * row.val_accuracy,
                val_low_percent=low,
                num_val_images=record.num_val_images,
            )
    return f"after no epoch did the interval lie above {bar_percent:g}%"


def _flops_until(record: Record, epoch: int) -> float:
    """Compute of the first epochs, as if all were alike; features that are computed once come first."""
    assert record.model is not None
    assert record.num_fit_images is not None
    once = 0
    if record.cell.recipe.tuning == "head":
        once = record.num_fit_images * record.model.forward_flops_per_image
    return once + (record.model.total_train_flops - once) * epoch / record.cell.recipe.epochs
