"""The names of the assumptions: what each is called on a page, and what it can be at all. No numpy here."""

from __future__ import annotations

from typing import Literal, NamedTuple

Side = Literal["both", "build", "buy"]


class Key(NamedTuple):
    """One assumption."""

    label: str
    side: Side
    minimum: float
    maximum: float
    """Bounds of any value; a flip is searched for between them."""


KEYS: dict[str, Key] = {
    "horizon_years": Key("horizon", "both", 0.25, 30),
    "images_per_year": Key("images per year", "both", 0, 1e13),
    "discount_rate_percent": Key("discount rate", "both", 0, 100),
    "cost_per_error_usd": Key("cost of an error", "both", 0, 1e7),
    "costly_images_percent": Key("images where errors cost", "both", 0, 100),
    "waiting_usd_per_1000_images": Key("cost of images that wait", "both", 0, 1e7),
    "task_compute_factor": Key("compute of the real task", "build", 0.01, 1e6),
    "engineer_month_usd": Key("engineer month", "both", 0, 1e6),
    "build_engineer_months": Key("effort to build", "build", 0, 10_000),
    "build_overrun_percent": Key("overrun of the build", "build", 0, 1_000),
    "build_start_months": Key("months to use, ours", "build", 0, 360),
    "labelled_images": Key("images to label", "build", 0, 1e10),
    "labels_per_image": Key("judgements per image", "build", 0, 100),
    "label_usd": Key("price of a judgement", "build", 0, 1_000),
    "data_acquisition_usd": Key("acquiring images", "build", 0, 1e9),
    "maintenance_engineer_percent": Key("maintenance", "build", 0, 10_000),
    "retrainings_per_year": Key("retrainings per year", "build", 0, 366),
    "retraining_images": Key("images per retraining", "build", 0, 1e10),
    "training_runs": Key("training runs", "build", 1, 1e7),
    "runs_per_retraining": Key("runs per retraining", "build", 0, 1e6),
    "cpu_usd_per_vcpu_hour": Key("price of a CPU hour", "build", 0, 1_000),
    "a100_usd_per_hour": Key("price of an A100 hour", "build", 0, 1_000),
    "h100_usd_per_hour": Key("price of an H100 hour", "build", 0, 1_000),
    "h200_usd_per_hour": Key("price of an H200 hour", "build", 0, 1_000),
    "a100_peak_tflops": Key("peak of an A100", "build", 1, 1e5),
    "flops_utilisation_percent": Key("FLOPs utilisation", "build", 0.1, 100),
    "serving_utilisation_percent": Key("serving utilisation", "build", 0.1, 100),
    "serving_other_usd_per_1000_images": Key("serving beside compute", "build", 0, 1e5),
    "serving_fixed_usd_per_year": Key("serving, fixed", "build", 0, 1e9),
    "build_loss_points": Key("our loss in use", "build", 0, 100),
    "vendor_usd_per_1000_images": Key("vendor's price", "buy", 0, 1e6),
    "vendor_price_change_percent": Key("vendor's price change", "buy", -90, 200),
    "vendor_fee_usd_per_year": Key("vendor's yearly fee", "buy", 0, 1e9),
    "integration_engineer_months": Key("effort to integrate", "buy", 0, 10_000),
    "buy_start_months": Key("months to use, vendor's", "buy", 0, 360),
    "audit_usd_per_year": Key("audit of the vendor", "buy", 0, 1e9),
    "buy_loss_points": Key("vendor's loss in use", "buy", 0, 100),
}
"""In the order of `assumptions.yaml`."""

BUILD_ACCURACY = "build_accuracy_percent"
BUY_ACCURACY = "buy_accuracy_percent"

ACCURACIES: dict[str, Key] = {
    BUILD_ACCURACY: Key("our accuracy", "build", 0, 100),
    BUY_ACCURACY: Key("vendor's accuracy", "buy", 0, 100),
}
"""Varied like assumptions, though they are measured, or a vendor's claim."""
