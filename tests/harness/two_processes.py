"""One of two processes that score and differentiate together; what each got is compared by the tests.

python tests/harness/two_processes.py RANK FOLDER     # leaves FOLDER/RANK.npz
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

sys.path[0] = str(Path(__file__).resolve().parents[2])

from harness import evaluate  # noqa: E402  # after the path is set
from harness.cell import CellSpec  # noqa: E402
from harness.datasets.base import ImageSet  # noqa: E402
from harness.datasets.device_loader import DeviceImages, Normalizer  # noqa: E402
from harness.evaluate import average_running_statistics, predict  # noqa: E402
from harness.files import write_arrays  # noqa: E402
from harness.precision import make_autocast  # noqa: E402
from harness.process import Process  # noqa: E402
from harness.recipe import Recipe  # noqa: E402
from harness.strategy import make_strategy  # noqa: E402

CPU = torch.device("cpu")
NUM_IMAGES = 7  # two processes cannot have equal shares


def main(rank: int, folder: Path) -> None:
    """Join the other process and leave what came out."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    process = Process(rank, rank, 2, CPU, "MULTI_CPU", "gloo")
    arrays = score(process) | differentiate(process)
    dist.destroy_process_group()
    write_arrays(folder / f"{rank}.npz", {name: value.numpy() for name, value in arrays.items()})


def score(process: Process) -> dict[str, Tensor]:
    """Logits of all images by both processes, and by this one alone in one batch."""
    evaluate.EVALUATION_BATCH_SIZE = 2  # several batches a process, the last one not full
    images = np.random.default_rng(0).integers(0, 256, (NUM_IMAGES, 3, 8, 8), dtype=np.uint8)
    loaded = DeviceImages(ImageSet(images, np.zeros(NUM_IMAGES, np.int64)), None, CPU)
    normalize = Normalizer((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 8, CPU)
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.Flatten(), nn.Linear(144, 5))
    assert norm.running_mean is not None
    assert norm.num_batches_tracked is not None
    norm.running_mean.fill_(1.0 + 2 * process.rank)  # as training left them: each process's own
    norm.num_batches_tracked.fill_(11)
    average_running_statistics(model, process)
    logits = predict(model, loaded, normalize, make_autocast("fp32", CPU), process)
    with torch.inference_mode():
        alone = model(normalize(loaded.gather(torch.arange(NUM_IMAGES))))
    return {
        "logits": logits,
        "logits_alone": alone,
        "running_mean": norm.running_mean,
        "num_batches": norm.num_batches_tracked,
    }


def differentiate(process: Process) -> dict[str, Tensor]:
    """Gradients of a global batch of 8 in two micro-batches a process, and by this one alone."""
    recipe = Recipe(epochs=1, batch_size=8, optimizer="sgd", lr=0.1, weight_decay=0, schedule="cosine")
    cell = CellSpec(
        dataset="digits",
        model="mlp",
        augmentation="none",
        recipe=recipe,
        precision="fp32",
        strategy="ddp",
        num_processes=2,
        accumulation_steps=2,
    )
    torch.manual_seed(0)
    inputs, labels = torch.randn(8, 6), torch.arange(8) % 3
    model = nn.Linear(6, 3, bias=False)
    (alone,) = torch.autograd.grad(F.cross_entropy(model(inputs), labels), model.weight)
    strategy = make_strategy(cell, model, torch.amp.GradScaler("cpu", enabled=False), process)
    strategy.wrap()
    after_each = []
    for micro_step in range(2):
        start = (process.rank * 2 + micro_step) * 2
        rows = slice(start, start + 2)
        with strategy.micro_batch(exchange=micro_step == 1):
            strategy.backward(F.cross_entropy(strategy.wrapped(inputs[rows]), labels[rows]) / 2)
        assert model.weight.grad is not None
        after_each.append(model.weight.grad.clone())
    strategy.drop_gradients()
    for micro_step in range(2):
        start = (process.rank * 2 + micro_step) * 2
        rows = slice(start, start + 2)
        with strategy.micro_batch(exchange=False):
            strategy.backward(F.cross_entropy(strategy.wrapped(inputs[rows]), labels[rows]) / 2)
    strategy.exchange_gradients()
    assert model.weight.grad is not None
    return {
        "gradient_before": after_each[0],
        "gradient": after_each[1],
        "gradient_exchanged_afterwards": model.weight.grad,
        "gradient_alone": alone,
    }


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
