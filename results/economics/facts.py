"""What is known about the two sides: what we would build, and what the vendor sells.

build = build_facts(run)                                     # a finished run of a folder
buy = claimed_facts(load_references()["detectocorp"])        # a claim, and nothing else
buy = audited_facts(read_audit(Path("audit/")))              # measured on our test images
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.record import record_path
from results.references import Reference
from results.store import Run

if TYPE_CHECKING:
    from results.audit.result import Audit


@dataclass(frozen=True)
class BuildFacts:
    """One finished run, as what building starts from."""

    name: str
    accuracy_percent: float
    num_correct: int
    num_images: int
    """Test images that the accuracy was measured on."""

    images: str
    """Which images those were."""

    dataset: str
    wall_time_s: float
    """Of the whole run: what a rented machine is paid for."""

    train_device: str
    device_type: Literal["cpu", "cuda"]
    num_devices: int
    """Accelerators, or threads of the CPU, over all processes."""

    total_train_pflop: float
    forward_flops_per_image: int
    images_per_s_inference: float | None
    """On one accelerator, or on `inference_threads` of a CPU; None: not measured."""

    inference_threads: int | None
    cell_id: str | None = None
    test_fingerprint: str | None = None
    """Of those images."""

    record_paths: tuple[Path, ...] = ()


@dataclass(frozen=True)
class BuyFacts:
    """The vendor: what it claims, or what an audit measured."""

    name: str
    accuracy_percent: float
    num_correct: int | None = None
    num_images: int | None = None
    """None: a claim only, which nobody has verified."""

    price_per_1000_images_usd: float | None = None
    """None: not disclosed."""

    source: str = ""
    """Whose claim it is, or the folder of the audit."""

    dataset: str | None = None
    """That a claim is about; None for an audit, whose images the fingerprint tells."""

    test_fingerprint: str | None = None
    """None: not known."""

    @property
    def is_measured(self) -> bool:
        """Whether the accuracy was measured rather than claimed."""
        return self.num_correct is not None and self.num_images is not None


def build_facts(run: Run) -> BuildFacts:
    """The facts of a finished run."""
    record, scores = run.record, run.scores
    assert scores is not None
    assert record.model is not None
    assert record.measurements is not None
    assert record.environment is not None
    assert record.data is not None
    measured, environment, data = record.measurements, record.environment, record.data
    on_gpu = environment.device_type == "cuda"
    official = "official" if data.official else "not official"
    return BuildFacts(
        name=f"{record.cell.model}/{record.cell.augmentation}",
        accuracy_percent=scores.test_accuracy_percent,
        num_correct=scores.test_correct,
        num_images=scores.num_test,
        images=f"{scores.num_test:,} test images of {data.dataset} ({official})",
        dataset=data.dataset,
        wall_time_s=measured.wall_time_s,
        train_device=environment.device,
        device_type=environment.device_type,
        num_devices=environment.num_processes * (1 if on_gpu else environment.threads_per_process),
        total_train_pflop=record.model.total_train_flops / 1e15,
        forward_flops_per_image=record.model.forward_flops_per_image,
        images_per_s_inference=measured.inference_images_per_s,
        inference_threads=measured.inference_threads,
        cell_id=record.cell_id,
        test_fingerprint=data.test_fingerprint,
        record_paths=(record_path(run.run_dir),),
    )


def claimed_facts(reference: Reference) -> BuyFacts:
    """The facts of a vendor that only claims an accuracy."""
    return BuyFacts(
        reference.name, reference.accuracy_percent, source=reference.source, dataset=reference.dataset
    )


def audited_facts(audit: Audit) -> BuyFacts:
    """The facts of a vendor that was audited: the price is what it stated, the accuracy was measured."""
    return BuyFacts(
        name=audit.vendor,
        accuracy_percent=audit.accuracy.percent,
        num_correct=audit.accuracy.count,
        num_images=audit.accuracy.n,
        price_per_1000_images_usd=audit.stored.price_per_1000_images_usd,
        source=str(audit.folder),
        test_fingerprint=audit.stored.test_fingerprint,
    )
