"""The model card of an exported model: what it is, how good it is, on which images, and how to use it.

After Mitchell et al. 2019, arXiv 1810.03993: intended use and limits, data, and figures by class. No torch
here.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import Any

from harness.interval import wilson_interval
from harness.record import Record


@dataclass(frozen=True)
class Scored:
    """How one form of the model did on the whole test set."""

    what: str
    """Such as `PyTorch, float32`."""

    num_correct: int
    num_images: int
    file: str | None = None
    """Of the export folder; None for what is not part of it."""

    num_bytes: int | None = None
    max_difference: float | None = None
    """Largest absolute difference of a logit from the original model in float32."""

    num_disagreements: int | None = None
    """Images that it puts into another class than that does."""

    def accuracy_text(self) -> str:
        """`91.23% (90.66% to 91.77%)`: the share, and its 95% Wilson interval."""
        return f"{self.num_correct / self.num_images:.2%} ({self.interval_text()})"

    def interval_text(self) -> str:
        """The 95% Wilson interval."""
        low, high = wilson_interval(self.num_correct, self.num_images)
        return f"{low:.2%} to {high:.2%}"


@dataclass(frozen=True)
class CardFacts:
    """What the card says."""

    record: Record
    class_names: tuple[str, ...]
    source_size: tuple[int, int]
    image_size: int
    scored: list[Scored]
    """The forms of the model, the exported float32 file among them."""

    by_class: list[tuple[str, int, int]]
    """Name, right answers of the exported float32 model, test images."""

    tolerated: int
    """Disagreements that would still have been accepted."""

    num_calibration_images: int | None = None
    versions: dict[str, str] = field(default_factory=dict)


def write_card(facts: CardFacts) -> str:
    """The card as Markdown."""
    sections = [
        _head(facts),
        _accuracy(facts),
        _by_class(facts),
        _data(facts),
        _training(facts),
        _use(facts),
        _limits(facts),
        _licence(),
    ]
    return "\n".join(line for section in sections for line in [*section, ""]).rstrip("\n") + "\n"


def _head(facts: CardFacts) -> list[str]:
    cell, data = facts.record.cell, facts.record.data
    assert data is not None
    return [
        f"# {_text(cell.model)}: {len(facts.class_names)} classes of {_text(data.dataset)}",
        "",
        f"An image classifier ({cell.league}), trained, measured and exported by Verdict as cell "
        f"`{facts.record.cell_id}`.",
    ]


def _accuracy(facts: CardFacts) -> list[str]:
    rows = [
        "## Accuracy",
        "",
        "On the whole test set, with the 95% Wilson interval. Differences are from the original model in",
        "float32: the largest one of a logit, and how many images are put into another class.",
        "",
        "| form | file | size | test accuracy | right | largest difference | other class |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in facts.scored:
        size = "" if one.num_bytes is None else f"{one.num_bytes / 2**20:.2f} MiB"
        difference = "" if one.max_difference is None else f"{one.max_difference:.1e}"
        other = "" if one.num_disagreements is None else f"{one.num_disagreements:,}"
        file = "" if one.file is None else f"`{one.file}`"
        rows.append(
            f"| {one.what} | {file} | {size} | {one.accuracy_text()} | {one.num_correct:,} of "
            f"{one.num_images:,} | {difference} | {other} |"
        )
    rows += [
        "",
        f"`model.onnx` would have been refused for more than {facts.tolerated:,} of the last column.",
    ]
    if facts.num_calibration_images is not None:
        rows.append(
            f"The ranges of the 8-bit model come from {facts.num_calibration_images:,} images of the "
            "training set; no test image was among them."
        )
    return rows


def _by_class(facts: CardFacts) -> list[str]:
    rows = ["## Accuracy by class", "", "Of `model.onnx`.", ""]
    rows += ["| class | test images | right | accuracy, 95% interval |", "|---|---|---|---|"]
    for name, num_correct, num_images in facts.by_class:
        text = Scored(name, num_correct, num_images).accuracy_text() if num_images else "no test image"
        rows.append(f"| {_text(name)} | {num_images:,} | {num_correct:,} | {text} |")
    return rows


def _data(facts: CardFacts) -> list[str]:
    record, data = facts.record, facts.record.data
    assert data is not None
    official = "byte for byte the published data set" if data.official else "**not** the published data set"
    return [
        "## Data",
        "",
        f"- data set: {_text(data.dataset)}, {official}",
        f"- images: {record.num_fit_images or 0:,} to train on, {record.num_val_images or 0:,} held out to "
        f"choose the epoch, {data.num_test_images:,} to test",
        f"- fingerprint (sha256 of pixels and labels): `{data.fingerprint}`",
        f"- of the test images: `{data.test_fingerprint}`",
        *(f"- {_text(note)}" for note in data.notes),
    ]


def _training(facts: CardFacts) -> list[str]:
    record, cell = facts.record, facts.record.cell
    model = record.model
    assert model is not None
    recipe = ", ".join(
        f"{name} {value}" for name, value in cell.recipe.model_dump().items() if value is not None
    )
    rows = ["## Model and training", ""]
    rows.append(f"- parameters: {model.num_params:,}")
    rows.append(f"- forward FLOPs per image: {model.forward_flops_per_image:,} (1 multiply-add = 2)")
    rows.append(f"- FLOPs of the whole training: {model.total_train_flops:.3e}")
    rows += [f"- {_text(note)}" for note in model.notes]
    if cell.pretrained is not None:
        digest = f", sha256 `{model.weights_sha256}`" if model.weights_sha256 else ""
        kind = cell.pretrained.partition(":")[0]
        rows.append(f"- started from weights of: {kind}{digest}")
    rows.append(f"- precision in training: {cell.precision}; augmentation: {_text(cell.augmentation)}")
    rows.append(f"- recipe: {recipe}; seed {cell.seed}")
    rows.append(f"- epoch that was chosen: {record.selected_epoch}; trained {record.ended_at}")
    rows += [f"- {name}: {version}" for name, version in facts.versions.items()]
    return rows


def _use(facts: CardFacts) -> list[str]:
    height, width = facts.source_size
    return [
        "## How to use it",
        "",
        f"Input `images`: uint8 [N, 3, {height}, {width}], RGB, 0 to 255, any N. Output `logits`: float32 "
        f"[N, {len(facts.class_names)}], in the order of `class_names` in `model.json`.",
        "Normalisation is part of the file"
        + (
            "."
            if facts.image_size == width
            else f", and so is the change to the {facts.image_size} pixels that the model sees."
        ),
        "An image of another shape is cut to its central square and resized (bilinear, antialiased) first,",
        "as this command does it:",
        "",
        "```console",
        "$ python -m harness.predict THIS_FOLDER photo.jpg",
        "```",
        "",
        "```python",
        "import json, onnxruntime, numpy as np",
        "from pathlib import Path",
        'names = json.loads(Path("model.json").read_text())["class_names"]',
        'session = onnxruntime.InferenceSession("model.onnx")',
        f"images = np.zeros((1, 3, {height}, {width}), np.uint8)",
        'logits = session.run(None, {"images": images})[0]',
        "print(names[logits[0].argmax()])",
        "```",
        "",
        "`model.safetensors` holds the weights alone, as PyTorch names them.",
    ]


def _limits(facts: CardFacts) -> list[str]:
    return [
        "## Intended use and limits",
        "",
        "- For images like those it was trained and tested on. On others, such as other cameras, crops or",
        "  compression, expect less than the accuracy above.",
        f"- It always answers with one of its {len(facts.class_names)} classes, also for an image of none of",
        "  them. Its probabilities were not corrected to match how often it is right.",
        "- It has not been audited for fairness, for robustness or against attacks. Do not let it decide",
        "  about anybody's safety, health, rights or money unless such an audit has been made.",
    ]


def _licence() -> list[str]:
    return [
        "## Licence",
        "",
        "The code that made it is under the Apache License 2.0. Which terms hold for these weights depends",
        "on the images, and on any weights that training started from: to find that out is up to their user.",
    ]


def _text(value: Any) -> str:
    """Text that is nothing but text in Markdown, and stays in its line and its cell of a table."""
    line = html.escape(" ".join(str(value).split()), quote=False)
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", line)
