"""What a run used beside time: energy, memory, the state of the GPU; and what many processes used together.

    usage = combine([usage of rank 0, usage of rank 1, ...])

Nothing that is unavailable is shown as 0: it is None, with the reason under its name. No torch here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, cast

COUNTER = "counter"
INTEGRATED = "integrated power"
RAPL = "RAPL, whole processor packages"

TRAIN, EVALUATE = "train", "evaluate"
"""The phases whose energy is told apart: spans of the clock."""


@dataclass(frozen=True)
class Missing:
    """In the place of a value: why there is none."""

    reason: str


def not_entered(phase: str) -> Missing:
    """In the place of what a phase used that never came."""
    return Missing(f"there was no phase {phase}")


@dataclass(frozen=True)
class Usage:
    """What one process used, or what `combine` makes of several; a None has its reason in `reasons`."""

    source: str
    """What the energy is of: the UUID of a GPU, or a host; of several, all of them."""

    measured_s: float
    """From the first reading to the last."""

    energy_j: float | None = None
    """Of the whole GPU, or of all processors of the host, what it takes when idle included."""

    train_energy_j: float | None = None
    """The part of it in the phase `train`."""

    evaluate_energy_j: float | None = None
    """The part of it in the phase `evaluate`."""

    energy_method: str | None = None
    """`COUNTER`, `INTEGRATED` or `RAPL`."""

    mean_power_w: float | None = None
    """`energy_j` by `measured_s`; of several GPUs together."""

    gpu_utilization_percent: float | None = None
    """Share of the time in which any kernel ran: it says nothing of how much of the GPU that filled."""

    peak_temperature_c: float | None = None
    mean_sm_clock_mhz: float | None = None
    throttle_reasons: tuple[str, ...] | None = None
    """What held the clocks down at any time; empty where nothing was seen to."""

    peak_process_gpu_mib: float | None = None
    """Largest memory of one process on its GPU, the CUDA context included."""

    peak_device_gpu_mib: float | None = None
    """Largest memory taken on one GPU, by whomever, with what the driver reserves."""

    sum_process_gpu_mib: float | None = None
    """The peaks of all processes added up: no less than the peak of their sum."""

    sum_device_gpu_mib: float | None = None
    """The peaks of all GPUs added up, each GPU once."""

    peak_tree_mib: float | None = None
    """Memory of a process and all that it started; of several ranks, their peaks added up."""

    tree_memory_method: str | None = None
    """How pages count that processes share (`harness/process_tree.py`)."""

    reasons: dict[str, str] = field(default_factory=dict)
    """Why a value is None, by its name."""

    def energies(self) -> dict[str, float | None]:
        """What a checkpoint keeps, for `added_to` of the attempt that goes on with it."""
        return {name: self._part(name) for name in _ENERGIES} | {"measured_s": self.measured_s}

    def _part(self, name: str) -> float | None:
        """What this attempt adds to an energy: 0 where its phase has not come yet."""
        reason = self.reasons.get(name)
        if reason in (not_entered(TRAIN).reason, not_entered(EVALUATE).reason):
            return 0.0
        return cast(float | None, getattr(self, name))

    def added_to(self, earlier: Mapping[str, float | None]) -> Usage:
        """With the `energies` of an earlier attempt added; None where that has none."""
        before_s = earlier.get("measured_s")
        measured_s = self.measured_s + (before_s or 0.0)
        added = {name: _sum_of_two(self._part(name), earlier.get(name)) for name in _ENERGIES}
        energy_j = added["energy_j"]
        added["mean_power_w"] = None if energy_j is None or before_s is None else energy_j / measured_s
        lost = [name for name, value in added.items() if value is None and name not in self.reasons]
        kept = {name: why for name, why in self.reasons.items() if added.get(name) is None}
        return replace(
            self,
            **cast(dict[str, Any], added),
            measured_s=measured_s,
            reasons=kept | dict.fromkeys(lost, "not measured in an earlier attempt of this training"),
        )


_ENERGIES = ("energy_j", "train_energy_j", "evaluate_energy_j")
_NOT_MEASURED = ("source", "measured_s", "reasons")
MEASURED = tuple(name for name in Usage.__dataclass_fields__ if name not in _NOT_MEASURED)
"""The names of everything that may be missing."""


def make_usage(source: str, measured_s: float, values: Mapping[str, Any]) -> Usage:
    """A usage from values, or `Missing` in their place, by name; each must be given."""
    assert set(values) == set(MEASURED), set(values) ^ set(MEASURED)
    reasons = {name: value.reason for name, value in values.items() if isinstance(value, Missing)}
    given = {name: None if name in reasons else value for name, value in values.items()}
    return Usage(source=source, measured_s=measured_s, reasons=reasons, **given)


def nothing_measured(source: str, reason: str) -> Usage:
    """A usage of which nothing is known, for one reason."""
    return make_usage(source, 0.0, dict.fromkeys(MEASURED, Missing(reason)))


def combine(usages: Sequence[Usage]) -> Usage:
    """What the processes that `usages` are of, in order of rank, used together.

    Energy is that of every GPU (or host) once, however many ranks share it, and of the longest
    measurement there; a peak is the largest; a mean is over the GPUs. What one rank lacks, all lack.
    """
    if len(usages) == 1:
        return usages[0]
    values: dict[str, Any] = {
        **{name: _over_sources(usages, name, max, sum) for name in _ENERGIES},
        "mean_power_w": _over_sources(usages, "mean_power_w", max, sum),
        "energy_method": _over_ranks(usages, "energy_method", _all_named),
        "gpu_utilization_percent": _over_sources(usages, "gpu_utilization_percent", fmean, fmean),
        "peak_temperature_c": _over_ranks(usages, "peak_temperature_c", max),
        "mean_sm_clock_mhz": _over_sources(usages, "mean_sm_clock_mhz", fmean, fmean),
        "throttle_reasons": _over_ranks(usages, "throttle_reasons", _union),
        "peak_process_gpu_mib": _over_ranks(usages, "peak_process_gpu_mib", max),
        "peak_device_gpu_mib": _over_ranks(usages, "peak_device_gpu_mib", max),
        "sum_process_gpu_mib": _over_ranks(usages, "sum_process_gpu_mib", sum),
        "sum_device_gpu_mib": _over_sources(usages, "sum_device_gpu_mib", max, sum),
        "peak_tree_mib": _over_ranks(usages, "peak_tree_mib", sum),
        "tree_memory_method": _over_ranks(usages, "tree_memory_method", _all_named),
    }
    sources = ", ".join(sorted({usage.source for usage in usages}))
    return make_usage(sources, max(usage.measured_s for usage in usages), values)


def _over_ranks(usages: Sequence[Usage], name: str, fold: Callable[[list[Any]], Any]) -> Any:
    lacking = [(rank, usage.reasons[name]) for rank, usage in enumerate(usages) if name in usage.reasons]
    if not lacking:
        return fold([getattr(usage, name) for usage in usages])
    rank, reason = lacking[0]
    alike = len(lacking) == len(usages) and len({reason for _, reason in lacking}) == 1
    return Missing(reason if alike else f"rank {rank}: {reason}")


def _over_sources(
    usages: Sequence[Usage],
    name: str,
    of_one: Callable[[list[float]], float],
    of_all: Callable[[list[float]], float],
) -> Any:
    """Fold what the ranks on one GPU or host say, then what all GPUs or hosts do."""

    def fold(values: list[float]) -> float:
        by_source: dict[str, list[float]] = {}
        for usage, value in zip(usages, values, strict=True):
            by_source.setdefault(usage.source, []).append(value)
        return of_all([of_one(each) for each in by_source.values()])

    return _over_ranks(usages, name, fold)


def _all_named(names: list[str]) -> str:
    return " and ".join(sorted(set(names)))


def _union(groups: list[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({name for group in groups for name in group}))


def _sum_of_two(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a + b
