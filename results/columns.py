"""The documented columns of `results.csv`, in their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "flag", "integer", "number"]


@dataclass(frozen=True)
class Column:
    """One documented column of `results.csv`."""

    name: str
    kind: Kind
    unit: str
    """Empty for text and plain numbers."""

    description: str
    source: str
    """A part of a run (`results/index/rows.py`), and its field where the column has another name."""

    max_length: int | None = None
    """Characters of the text that are kept; None: all."""

    @property
    def path(self) -> str:
        """The part and the field, as in `measurements.wall_time_s`."""
        return self.source if "." in self.source else f"{self.source}.{self.name}"


COLUMNS: tuple[Column, ...] = (
    Column("cell_id", "text", "", "hash of the cell; the name of its run folder", "record"),
    Column("status", "text", "", "finished or failed", "record"),
    Column("dataset", "text", "", "data set, as the cell names it", "cell"),
    Column("data_fingerprint", "text", "", "of train and test images, first 8", "data.fingerprint", 8),
    Column("test_fingerprint", "text", "", "of the test images, first 8", "data", 8),
    Column("official", "flag", "", "whether the data are byte for byte the published ones", "data"),
    Column("num_fit_images", "integer", "images", "training images that gradients came from", "record"),
    Column("num_val_images", "integer", "images", "training images held out for selection", "record"),
    Column("num_test_images", "integer", "images", "test images scored", "data"),
    Column("val_fraction", "number", "", "share of the training images to hold out", "cell"),
    Column("image_size", "integer", "pixels", "height and width that the model sees", "cell"),
    Column("model", "text", "", "architecture", "cell"),
    Column("league", "text", "", "from scratch or pre-trained", "cell"),
    Column("pretrained", "text", "", "where the first weights came from", "cell"),
    Column("weights_sha256", "text", "", "of the file of weights, first 8", "model", 8),
    Column("small_stem", "flag", "", "whether the stem was adapted to small images", "cell"),
    Column("model_notes", "text", "", "what was adapted or replaced in the model", "model.notes"),
    Column("augmentation", "text", "", "augmentation of the training images", "cell"),
    Column("precision", "text", "", "fp32, tf32, bf16 or fp16", "cell"),
    Column("strategy", "text", "", "how processes share the work", "cell"),
    Column("num_processes", "integer", "processes", "training processes", "cell"),
    Column("accumulation_steps", "integer", "", "micro-batches per step", "cell"),
    Column("sync_batchnorm", "flag", "", "whether norms see all processes' batches", "cell"),
    Column("compile", "text", "", "mode of torch.compile", "cell"),
    Column("mirror_tta", "flag", "", "whether mirrored test images were added", "cell"),
    Column("seed", "integer", "", "of weights, order and augmentation", "cell"),
    Column("epochs", "integer", "epochs", "passes over the training images", "recipe"),
    Column("batch_size", "integer", "images", "per optimizer step, over all processes", "recipe"),
    Column("optimizer", "text", "", "sgd (Nesterov), adamw or muon", "recipe"),
    Column("lr", "number", "", "peak learning rate", "recipe"),
    Column("weight_decay", "number", "", "of all but biases and norms", "recipe"),
    Column("momentum", "number", "", "of SGD; beta1 of AdamW", "recipe"),
    Column("muon_lr", "number", "", "peak learning rate of the hidden weights", "recipe"),
    Column("muon_momentum", "number", "", "of the hidden weights", "recipe"),
    Column("schedule", "text", "", "decay of the learning rate", "recipe"),
    Column("warmup_fraction", "number", "", "share of the steps with a rising rate", "recipe"),
    Column("final_lr_fraction", "number", "", "last learning rate over the peak", "recipe"),
    Column("norm_bias_lr_scale", "number", "", "factor on the rate of norm biases", "recipe"),
    Column("crop_padding", "integer", "pixels", "largest shift of crop, at 32x32", "recipe"),
    Column("label_smoothing", "number", "", "share of the label spread", "recipe"),
    Column("start_scale", "number", "", "first image size over the full one", "recipe"),
    Column("full_scale_at", "number", "", "share of the epochs until the full size", "recipe"),
    Column("keep_hardest", "number", "", "share of each batch that is trained on", "recipe"),
    Column("tuning", "text", "", "what of a pre-trained model is trained", "recipe"),
    Column("layer_lr_decay", "number", "", "learning rate from one group of layers down", "recipe"),
    Column("ema_decay", "number", "", "of the weights that are evaluated", "recipe"),
    Column("test_correct", "integer", "images", "test images classified correctly", "scores"),
    Column("test_accuracy_percent", "number", "%", "accuracy on the test images", "score.accuracy_percent"),
    Column(
        "test_accuracy_low_percent",
        "number",
        "%",
        "low end, 95% Wilson interval",
        "score.accuracy_low_percent",
    ),
    Column(
        "test_accuracy_high_percent",
        "number",
        "%",
        "high end, 95% Wilson interval",
        "score.accuracy_high_percent",
    ),
    Column("test_tta_accuracy_percent", "number", "%", "with mirrored test images added", "scores"),
    Column("val_accuracy_percent", "number", "%", "accuracy on the validation images", "scores"),
    Column("top5_accuracy_percent", "number", "%", "the label is among the five best", "derived"),
    Column("worst_class", "text", "", "class of lowest recall", "derived"),
    Column("worst_class_recall_percent", "number", "%", "its recall", "derived"),
    Column("nll", "number", "nats", "mean negative log-likelihood", "derived"),
    Column("brier", "number", "", "Brier score, summed over classes, 0 to 2", "derived"),
    Column("ece_percent", "number", "%", "calibration error, 15 bins of equal width", "derived"),
    Column("ece_equal_mass_percent", "number", "%", "the same in bins of equal mass", "derived"),
    Column("temperature", "number", "", "that fits the validation images best", "derived"),
    Column("nll_after_temperature", "number", "nats", "with it, on the test images", "derived"),
    Column("ece_after_temperature_percent", "number", "%", "with it, on the test images", "derived"),
    Column("aurc", "number", "", "area under the risk-coverage curve, 0 is best", "derived"),
    Column("coverage_at_99_percent", "number", "%", "answered at the threshold for 99%", "derived"),
    Column("accuracy_at_that_coverage_percent", "number", "%", "of what is answered there", "derived"),
    Column("robustness_level", "text", "", "quick or full: only equal ones compare", "robustness"),
    Column("robustness_images", "integer", "images", "test images corrupted and moved", "robustness"),
    Column("attacked_images", "integer", "images", "test images attacked", "robustness"),
    Column(
        "mean_corruption_accuracy_percent", "number", "%", "15 corruptions, severities measured", "robustness"
    ),
    Column("relative_robustness_percent", "number", "%", "that over the clean accuracy", "robustness"),
    Column("worst_corruption", "text", "", "of lowest accuracy", "robustness"),
    Column("worst_corruption_accuracy_percent", "number", "%", "mean over severities", "robustness"),
    Column("confidence_when_wrong_percent", "number", "%", "mean, of corrupted images", "robustness"),
    Column("fgsm_accuracy_percent", "number", "%", "under FGSM, L-inf 8/255", "robustness"),
    Column("pgd_accuracy_percent", "number", "%", "under PGD-20, L-inf 8/255", "robustness"),
    Column("shift_consistency_percent", "number", "%", "same answer when moved 1 to 4 pixels", "robustness"),
    Column("flip_consistency_percent", "number", "%", "same answer when mirrored", "robustness"),
    Column(
        "brightness_consistency_percent", "number", "%", "same answer when brighter or darker", "robustness"
    ),
    Column("cifar10_c_accuracy_percent", "number", "%", "published CIFAR-10-C images", "robustness"),
    Column("cifar10_1_accuracy_percent", "number", "%", "published CIFAR-10.1 images", "robustness"),
    Column("frost_source", "text", "", "of our own frost corruption", "robustness"),
    Column("selected_epoch", "integer", "", "epoch whose weights were tested, from 1", "record"),
    Column("num_params", "integer", "parameters", "parameters of the model", "model"),
    Column("forward_flops_per_image", "integer", "FLOP", "inference; 1 MAC = 2 FLOPs", "model"),
    Column("train_flops_per_image", "integer", "FLOP", "forward and backward", "model"),
    Column("total_train_pflop", "number", "PFLOP", "training compute, 1e15 FLOPs", "score"),
    Column("accuracy_per_pflop", "number", "%/PFLOP", "test accuracy over compute", "score"),
    Column(
        "clears_vendor_bar",
        "flag",
        "",
        "whether test_accuracy_low_percent is above 70%, which Detectocorp claims on CIFAR-10",
        "score",
    ),
    Column(
        "share_of_gpipe_accuracy_percent",
        "number",
        "%",
        "of GPipe's 99.0; empty on data other than CIFAR-10",
        "score",
    ),
    Column("share_of_gpipe_params_percent", "number", "%", "of GPipe's 557 million", "score"),
    Column("images_per_s", "number", "images/s", "training, median step, all processes", "measurements"),
    Column("num_steps", "integer", "steps", "optimizer steps", "measurements"),
    Column("num_resumes", "integer", "", "how often training went on from a checkpoint", "measurements"),
    Column("wall_time_s", "number", "s", "from setting up the cell to its record", "measurements"),
    Column(
        "startup_time_s", "number", "s", "making the folder, building and counting the model", "measurements"
    ),
    Column(
        "data_time_s",
        "number",
        "s",
        "copying images to the device; loading the data set is not in it",
        "measurements",
    ),
    Column("compile_time_s", "number", "s", "torch.compile", "measurements"),
    Column("first_step_time_s", "number", "s", "first step of each attempt", "measurements"),
    Column("train_time_s", "number", "s", "all other training steps", "measurements"),
    Column("evaluate_time_s", "number", "s", "validation and test", "measurements"),
    Column("latency_time_s", "number", "s", "measuring the latency", "measurements"),
    Column("write_time_s", "number", "s", "writing predictions, steps and weights", "measurements"),
    Column("checkpoint_time_s", "number", "s", "writing checkpoints", "measurements"),
    Column("idle_time_s", "number", "s", "the main process waited for others", "measurements"),
    Column("other_time_s", "number", "s", "wall time in no other span", "measurements"),
    Column("launch_time_s", "number", "s", "before the first cell, shared by all", "measurements"),
    Column("peak_resident_mib", "number", "MiB", "of one process, CPU runs", "measurements"),
    Column("later_peak_mib", "number", "MiB", "of one process after its first step", "measurements"),
    Column("peak_allocated_mib", "number", "MiB", "by tensors on one GPU", "measurements"),
    Column("peak_reserved_mib", "number", "MiB", "by the allocator on one GPU", "measurements"),
    Column("peak_process_gpu_mib", "number", "MiB", "one process on its GPU, by NVML", "measurements"),
    Column("sum_process_gpu_mib", "number", "MiB", "all processes on their GPUs, by NVML", "measurements"),
    Column("peak_device_gpu_mib", "number", "MiB", "taken on one GPU by whomever, by NVML", "measurements"),
    Column("sum_device_gpu_mib", "number", "MiB", "the same of all GPUs", "measurements"),
    Column("peak_tree_mib", "number", "MiB", "all processes of the run, resident", "measurements"),
    Column("tree_memory_method", "text", "", "how shared pages count in it", "measurements"),
    Column(
        "energy_j", "number", "J", "whole GPUs or processors, until the results are written", "measurements"
    ),
    Column("train_energy_j", "number", "J", "the part of it while training", "measurements"),
    Column("evaluate_energy_j", "number", "J", "the part of it while scoring", "measurements"),
    Column("energy_method", "text", "", "counter, integrated power or RAPL", "measurements"),
    Column("mean_power_w", "number", "W", "over that time", "measurements"),
    Column(
        "gpu_utilization_percent", "number", "%", "share of the time in which a kernel ran", "measurements"
    ),
    Column("peak_temperature_c", "number", "°C", "of a GPU", "measurements"),
    Column("mean_sm_clock_mhz", "number", "MHz", "of the GPUs", "measurements"),
    Column("throttle_reasons", "text", "", "what held the clocks of a GPU down", "measurements.throttling"),
    Column("peak_flops_per_s", "number", "FLOP/s", "of one device in this precision", "measurements"),
    Column("peak_flops_source", "text", "", "where that figure is from", "measurements"),
    Column("mfu_percent", "number", "%", "share of the peak that training reached", "measurements"),
    Column("latency_batch1_p50_ms", "number", "ms", "one image, uncompiled, median", "measurements"),
    Column("latency_batch1_p99_ms", "number", "ms", "one image, 99th percentile", "measurements"),
    Column("inference_images_per_s", "number", "images/s", "in batches, on one device", "measurements"),
    Column("inference_batch_size", "integer", "images", "of these batches", "measurements"),
    Column("inference_threads", "integer", "threads", "of torch, while this was measured", "measurements"),
    Column("inference_images_per_j", "number", "images/J", "scored, idle power included", "measurements"),
    Column("weights_mib", "number", "MiB", "stored weights", "measurements"),
    Column("unavailable", "text", "", "why figures are missing", "reasons"),
    Column("compute_dtype", "text", "", "type that layers came out in", "in_effect"),
    Column("wrapper", "text", "", "class of what was trained", "in_effect"),
    Column(
        "used_accumulation_steps", "integer", "", "more where memory ran out", "in_effect.accumulation_steps"
    ),
    Column("params_per_process", "text", "", "kept between steps", "in_effect"),
    Column("optimizer_values_per_process", "text", "", "of its state and copies of the weights", "in_effect"),
    Column("synchronized_norms", "integer", "", "BatchNorm layers", "in_effect.num_synchronized_norms"),
    Column("devices", "text", "", "of each process", "in_effect"),
    Column("num_nodes", "integer", "", "machines", "in_effect"),
    Column("device", "text", "", "accelerator or processor", "environment"),
    Column("device_type", "text", "", "cpu or cuda", "environment"),
    Column("backend", "text", "", "nccl or gloo; empty for one process", "environment"),
    Column("threads_per_process", "integer", "threads", "of torch on the CPU", "environment"),
    Column("deterministic", "flag", "", "deterministic kernels", "environment"),
    Column("hostname", "text", "", "machine", "environment"),
    Column("python", "text", "", "version", "environment"),
    Column("torch", "text", "", "version", "environment"),
    Column("accelerate", "text", "", "version", "environment"),
    Column("cuda", "text", "", "version", "environment"),
    Column("verdict", "text", "", "version", "environment"),
    Column("git_commit", "text", "", "of the code that ran", "environment"),
    Column("started_at", "text", "", "ISO 8601, UTC", "record"),
    Column("ended_at", "text", "", "ISO 8601, UTC", "record"),
    Column("failure_kind", "text", "", "of a failed run", "failure.kind"),
    Column("failure_message", "text", "", "of a failed run", "failure.message"),
    Column("burnt_s", "number", "s", "spent on a failed run", "failure"),
)

FURTHER_COLUMNS: tuple[Column, ...] = (
    Column("label", "text", "", "the cell in a few words", "facts"),
    Column("seedless_id", "text", "", "cell id of the same cell with seed 0", "facts"),
    Column("data_kind", "text", "", "data set, without the path to it", "facts"),
    Column("full_fingerprint", "text", "", "of train and test images", "facts"),
    Column("full_test_fingerprint", "text", "", "of the test images", "facts"),
    Column("num_train_images", "integer", "images", "before any are held out", "facts"),
    Column("image_shape", "text", "", "channels, height, width of the data", "facts"),
    Column("data_notes", "text", "", "what a reader must know of the data: a list, as JSON", "facts"),
)
"""What is known of a run besides, for those who rank and compare; not in `results.csv`."""

ALL_COLUMNS = COLUMNS + FURTHER_COLUMNS
COLUMN_BY_NAME = {column.name: column for column in ALL_COLUMNS}
