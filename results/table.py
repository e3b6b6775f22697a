"""One row for each run: `results.csv`, rebuilt from the records and predictions at any time.

write_csv(Path("runs"))    # runs/results.csv

Finished and failed runs are rows; a value that is missing is an empty cell, never 0.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from harness.files import write_text
from results.score import score_run
from results.store import Run, load_runs, one_line


@dataclass(frozen=True)
class Column:
    """One documented column of `results.csv`."""

    name: str
    unit: str
    """Empty for text and plain numbers."""

    description: str
    source: str
    """Where the value is found: one of `_sources` and a field of it."""

    max_length: int | None = None
    """Characters of the text that are kept; None: all."""


COLUMNS: tuple[Column, ...] = (
    Column("cell_id", "", "hash of the cell; the name of its run folder", "record.cell_id"),
    Column("status", "", "finished or failed", "record.status"),
    Column("dataset", "", "data set, as the cell names it", "cell.dataset"),
    Column("data_fingerprint", "", "of train and test images, first 8", "data.fingerprint", 8),
    Column("test_fingerprint", "", "of the test images, first 8", "data.test_fingerprint", 8),
    Column("official", "", "whether the data are byte for byte the published ones", "data.official"),
    Column("num_fit_images", "images", "training images that gradients came from", "record.num_fit_images"),
    Column("num_val_images", "images", "training images held out for selection", "record.num_val_images"),
    Column("num_test_images", "images", "test images scored", "data.num_test_images"),
    Column("val_fraction", "", "share of the training images to hold out", "cell.val_fraction"),
    Column("image_size", "pixels", "height and width that the model sees", "cell.image_size"),
    Column("model", "", "architecture", "cell.model"),
    Column("league", "", "from scratch or pre-trained", "cell.league"),
    Column("pretrained", "", "where the first weights came from", "cell.pretrained"),
    Column("weights_sha256", "", "of the file of weights, first 8", "model.weights_sha256", 8),
    Column("small_stem", "", "whether the stem was adapted to small images", "cell.small_stem"),
    Column("model_notes", "", "what was adapted or replaced in the model", "model.notes"),
    Column("augmentation", "", "augmentation of the training images", "cell.augmentation"),
    Column("precision", "", "fp32, tf32, bf16 or fp16", "cell.precision"),
    Column("strategy", "", "how processes share the work", "cell.strategy"),
    Column("num_processes", "processes", "training processes", "cell.num_processes"),
    Column("accumulation_steps", "", "micro-batches per step", "cell.accumulation_steps"),
    Column("sync_batchnorm", "", "whether norms see all processes' batches", "cell.sync_batchnorm"),
    Column("compile", "", "mode of torch.compile", "cell.compile"),
    Column("mirror_tta", "", "whether mirrored test images were added", "cell.mirror_tta"),
    Column("seed", "", "of weights, order and augmentation", "cell.seed"),
    Column("epochs", "epochs", "passes over the training images", "recipe.epochs"),
    Column("batch_size", "images", "per optimizer step, over all processes", "recipe.batch_size"),
    Column("optimizer", "", "sgd (Nesterov), adamw or muon", "recipe.optimizer"),
    Column("lr", "", "peak learning rate", "recipe.lr"),
    Column("weight_decay", "", "of all but biases and norms", "recipe.weight_decay"),
    Column("momentum", "", "of SGD; beta1 of AdamW", "recipe.momentum"),
    Column("muon_lr", "", "peak learning rate of the hidden weights", "recipe.muon_lr"),
    Column("muon_momentum", "", "of the hidden weights", "recipe.muon_momentum"),
    Column("schedule", "", "decay of the learning rate", "recipe.schedule"),
    Column("warmup_fraction", "", "share of the steps with a rising rate", "recipe.warmup_fraction"),
    Column("final_lr_fraction", "", "last learning rate over the peak", "recipe.final_lr_fraction"),
    Column("norm_bias_lr_scale", "", "factor on the rate of norm biases", "recipe.norm_bias_lr_scale"),
    Column("crop_padding", "pixels", "largest shift of crop, at 32x32", "recipe.crop_padding"),
    Column("label_smoothing", "", "share of the label spread", "recipe.label_smoothing"),
    Column("start_scale", "", "first image size over the full one", "recipe.start_scale"),
    Column("full_scale_at", "", "share of the epochs until the full size", "recipe.full_scale_at"),
    Column("keep_hardest", "", "share of each batch that is trained on", "recipe.keep_hardest"),
    Column("tuning", "", "what of a pre-trained model is trained", "recipe.tuning"),
    Column("layer_lr_decay", "", "learning rate from one group of layers down", "recipe.layer_lr_decay"),
    Column("ema_decay", "", "of the weights that are evaluated", "recipe.ema_decay"),
    Column("test_correct", "images", "test images classified correctly", "scores.test_correct"),
    Column("test_accuracy_percent", "%", "accuracy on the test images", "score.accuracy_percent"),
    Column("test_accuracy_low_percent", "%", "low end, 95% Wilson interval", "score.accuracy_low_percent"),
    Column("test_accuracy_high_percent", "%", "high end, 95% Wilson interval", "score.accuracy_high_percent"),
    Column(
        "test_tta_accuracy_percent",
        "%",
        "with mirrored test images added",
        "scores.test_tta_accuracy_percent",
    ),
    Column("val_accuracy_percent", "%", "accuracy on the validation images", "scores.val_accuracy_percent"),
    Column("selected_epoch", "", "epoch whose weights were tested, from 1", "record.selected_epoch"),
    Column("num_params", "parameters", "parameters of the model", "model.num_params"),
    Column("forward_flops_per_image", "FLOP", "inference; 1 MAC = 2 FLOPs", "model.forward_flops_per_image"),
    Column("train_flops_per_image", "FLOP", "forward and backward", "model.train_flops_per_image"),
    Column("total_train_pflop", "PFLOP", "training compute, 1e15 FLOPs", "score.total_train_pflop"),
    Column("accuracy_per_pflop", "%/PFLOP", "test accuracy over compute", "score.accuracy_per_pflop"),
    Column(
        "clears_vendor_bar",
        "",
        "whether test_accuracy_low_percent is above 70%, which Detectocorp claims on CIFAR-10",
        "score.clears_vendor_bar",
    ),
    Column(
        "share_of_gpipe_accuracy_percent",
        "%",
        "of GPipe's 99.0; empty on data other than CIFAR-10",
        "score.share_of_gpipe_accuracy_percent",
    ),
    Column(
        "share_of_gpipe_params_percent", "%", "of GPipe's 557 million", "score.share_of_gpipe_params_percent"
    ),
    Column("images_per_s", "images/s", "training, median step, all processes", "measurements.images_per_s"),
    Column("num_steps", "steps", "optimizer steps", "measurements.num_steps"),
    Column("num_resumes", "", "how often training went on from a checkpoint", "measurements.num_resumes"),
    Column("wall_time_s", "s", "from setting up the cell to its record", "measurements.wall_time_s"),
    Column(
        "startup_time_s",
        "s",
        "making the folder, building and counting the model",
        "measurements.startup_time_s",
    ),
    Column(
        "data_time_s",
        "s",
        "copying images to the device; loading the data set is not in it",
        "measurements.data_time_s",
    ),
    Column("compile_time_s", "s", "torch.compile", "measurements.compile_time_s"),
    Column("train_time_s", "s", "training steps", "measurements.train_time_s"),
    Column("evaluate_time_s", "s", "validation and test", "measurements.evaluate_time_s"),
    Column("write_time_s", "s", "writing the predictions and steps", "measurements.write_time_s"),
    Column("checkpoint_time_s", "s", "writing checkpoints", "measurements.checkpoint_time_s"),
    Column("other_time_s", "s", "wall time in no other span", "measurements.other_time_s"),
    Column("peak_resident_mib", "MiB", "of one process, CPU runs", "measurements.peak_resident_mib"),
    Column("later_peak_mib", "MiB", "of one process after its first step", "measurements.later_peak_mib"),
    Column("peak_allocated_mib", "MiB", "by tensors on one GPU", "measurements.peak_allocated_mib"),
    Column("peak_reserved_mib", "MiB", "by the allocator on one GPU", "measurements.peak_reserved_mib"),
    Column("unavailable", "", "why measurements are missing", "record.unavailable"),
    Column("compute_dtype", "", "type that layers came out in", "in_effect.compute_dtype"),
    Column("wrapper", "", "class of what was trained", "in_effect.wrapper"),
    Column("used_accumulation_steps", "", "more where memory ran out", "in_effect.accumulation_steps"),
    Column("params_per_process", "", "kept between steps", "in_effect.params_per_process"),
    Column(
        "optimizer_values_per_process",
        "",
        "of its state and copies of the weights",
        "in_effect.optimizer_values_per_process",
    ),
    Column("synchronized_norms", "", "BatchNorm layers", "in_effect.num_synchronized_norms"),
    Column("devices", "", "of each process", "in_effect.devices"),
    Column("num_nodes", "", "machines", "in_effect.num_nodes"),
    Column("device", "", "accelerator or processor", "environment.device"),
    Column("device_type", "", "cpu or cuda", "environment.device_type"),
    Column("backend", "", "nccl or gloo; empty for one process", "environment.backend"),
    Column("threads_per_process", "threads", "of torch on the CPU", "environment.threads_per_process"),
    Column("deterministic", "", "deterministic kernels", "environment.deterministic"),
    Column("hostname", "", "machine", "environment.hostname"),
    Column("python", "", "version", "environment.python"),
    Column("torch", "", "version", "environment.torch"),
    Column("accelerate", "", "version", "environment.accelerate"),
    Column("cuda", "", "version", "environment.cuda"),
    Column("verdict", "", "version", "environment.verdict"),
    Column("git_commit", "", "of the code that ran", "environment.git_commit"),
    Column("started_at", "", "ISO 8601, UTC", "record.started_at"),
    Column("ended_at", "", "ISO 8601, UTC", "record.ended_at"),
    Column("failure_kind", "", "of a failed run", "failure.kind"),
    Column("failure_message", "", "of a failed run", "failure.message"),
    Column("burnt_s", "s", "spent on a failed run", "failure.burnt_s"),
)


def row(run: Run) -> dict[str, str]:
    """The cells of one run by the name of their column, as they stand in the file."""
    sources = _sources(run)
    return {column.name: _text(_find(sources, column.source))[: column.max_length] for column in COLUMNS}


def write_csv(folder: Path) -> list[str]:
    """Rebuild `results.csv` in `folder` from its runs, atomically, oldest run first.

    Any number of launchers may call it at any time: the file is always whole, though it may lack a run
    that another launcher finished in the same moment, until the next rebuild.

    Returns:
        One warning for each run that was left out.

    Raises:
        UsageError: `folder` cannot be read or holds no run.
        StorageError: the file cannot be written.
    """
    stored = load_runs(folder)
    text = io.StringIO()
    writer = csv.DictWriter(text, [column.name for column in COLUMNS], lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        row(run) for run in sorted(stored.runs, key=lambda run: (run.record.started_at, run.run_dir.name))
    )
    write_text(folder / "results.csv", text.getvalue())
    return stored.warnings


def columns_markdown() -> str:
    """The columns as a Markdown table."""
    lines = ["| column | unit | description |", "|---|---|---|"]
    lines += [f"| `{column.name}` | {column.unit} | {column.description} |" for column in COLUMNS]
    return "\n".join(lines)


def columns_text() -> str:
    """The columns as aligned plain text."""
    name_width = max(len(column.name) for column in COLUMNS)
    unit_width = max(len(column.unit) for column in COLUMNS)
    return "\n".join(
        f"{column.name:{name_width}}  {column.unit:{unit_width}}  {column.description}" for column in COLUMNS
    )


def _sources(run: Run) -> dict[str, object]:
    record = run.record
    return {
        "record": record,
        "cell": record.cell,
        "recipe": record.cell.recipe,
        "data": record.data,
        "model": record.model,
        "measurements": record.measurements,
        "in_effect": record.in_effect,
        "environment": record.environment,
        "failure": record.failure,
        "scores": run.scores,
        "score": None if run.scores is None else score_run(run),
    }


def _find(sources: dict[str, object], source: str) -> object:
    """The value that `source` names, or None where the run has nothing of the kind."""
    owner, field = source.split(".")
    return None if sources[owner] is None else getattr(sources[owner], field)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        value = "; ".join(str(item) for item in value)
    if isinstance(value, dict):
        value = "; ".join(f"{key}: {reason}" for key, reason in value.items())
    if not isinstance(value, str):
        return str(value)
    line = one_line(value)
    # A spreadsheet runs text that starts like this as a formula.
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line
