"""One of two processes that train a small net by DDP and by each stage of ZeRO; what came out is compared.

python tests/harness/zero_processes.py RANK FOLDER     # leaves FOLDER/RANK.npz
"""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

sys.path[0] = str(Path(__file__).resolve().parents[2])

from harness.cell import CellSpec  # noqa: E402  # after the path is set
from harness.errors import DivergedError  # noqa: E402
from harness.files import write_arrays  # noqa: E402
from harness.optimizer import set_lr  # noqa: E402
from harness.precision import make_autocast  # noqa: E402
from harness.process import Process  # noqa: E402
from harness.recipe import Recipe  # noqa: E402
from harness.strategy import Strategy, make_strategy  # noqa: E402

CPU = torch.device("cpu")
NUM_STEPS, NUM_MICRO_BATCHES, BATCH_SIZE, NUM_CLASSES = 10, 2, 16, 5
SAVED_AFTER = 4
STAGES = ("zero1", "zero2", "zero3")
OPTIMIZERS = {"sgd": 0.1, "adamw": 0.01}


def main(rank: int, folder: Path) -> None:
    """Join the other process and leave what came out."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    process = Process(rank, rank, 2, CPU, "MULTI_CPU", "gloo")
    arrays: dict[str, Tensor] = {}
    for optimizer in OPTIMIZERS:
        for name in ("ddp", *STAGES):
            with strategy_of(name, process, optimizer) as strategy:
                losses = [step(strategy, index) for index in range(NUM_STEPS)]
                arrays |= outcome(f"{name}/{optimizer}", strategy, losses)
    for name in ("ddp", *STAGES):
        arrays |= compute_in_bf16(name, process)
    for name in STAGES:
        arrays |= {f"{name}/{key}": value for key, value in look_into(name, process).items()}
        for optimizer in OPTIMIZERS:
            arrays |= interrupt(name, process, optimizer)
        arrays |= overflow(name, process)
    dist.destroy_process_group()
    write_arrays(folder / f"{rank}.npz", {name: value.numpy() for name, value in arrays.items()})


class Net(nn.Module):
    """What the models have that may go wrong: frozen weights, running statistics, changes in place."""

    def __init__(self) -> None:
        super().__init__()
        self.whiten = nn.Conv2d(3, 6, 2, bias=False).requires_grad_(False)
        self.block = nn.Sequential(nn.Conv2d(6, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.block[1].weight.requires_grad_(False)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.position = nn.Parameter(torch.zeros(8, 1, 1))
        self.head = nn.Linear(8, NUM_CLASSES)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        features: Tensor = self.block(F.gelu(self.whiten(images_BCHW))) + self.position
        features = F.relu(features + self.conv(features), inplace=True)
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits


@contextmanager
def strategy_of(
    name: str,
    process: Process,
    optimizer: str = "sgd",
    precision: str = "fp32",
    scaler: torch.amp.GradScaler | None = None,
) -> Iterator[Strategy]:
    """A strategy over a new net, with the weights of process 0."""
    recipe = Recipe(
        epochs=1,
        batch_size=BATCH_SIZE,
        optimizer=optimizer,
        lr=OPTIMIZERS[optimizer],
        weight_decay=0.01,
        schedule="cosine",
        norm_bias_lr_scale=4,
    )
    cell = CellSpec(
        dataset="digits",
        model="mlp",
        augmentation="none",
        recipe=recipe,
        precision=precision,
        strategy=name,
        num_processes=2,
        accumulation_steps=NUM_MICRO_BATCHES,
    )
    torch.manual_seed(process.rank)
    model = Net().to(memory_format=torch.channels_last)
    scaler = scaler or make_autocast(cell.precision, CPU).scaler
    strategy = make_strategy(cell, model, scaler, process)
    strategy.wrap()
    try:
        yield strategy
    finally:
        strategy.close()


def step(strategy: Strategy, index: int, factor: float = 1.0, num_parts: int = NUM_MICRO_BATCHES) -> Tensor:
    """Train on a batch of noise; this process's mean loss."""
    generator = torch.Generator().manual_seed(index)
    images = torch.randn(BATCH_SIZE, 3, 8, 8, generator=generator).to(memory_format=torch.channels_last)
    labels = torch.randint(NUM_CLASSES, (BATCH_SIZE,), generator=generator)
    set_lr(strategy.optimizer, strategy.cell.recipe.lr * (1 - index / NUM_STEPS))
    autocast = make_autocast(strategy.cell.precision, CPU)
    strategy.train_mode()
    size = BATCH_SIZE // (2 * num_parts)
    total = torch.zeros(())
    for part in range(num_parts):
        start = (strategy.process.rank * num_parts + part) * size
        rows = slice(start, start + size)
        with strategy.micro_batch(exchange=part + 1 == num_parts):
            with autocast.context():
                logits = strategy.wrapped(images[rows])
            loss = F.cross_entropy(logits.float(), labels[rows]) / num_parts
            strategy.backward(loss * factor)
        total += loss.detach()
    strategy.step()
    return total


def outcome(name: str, strategy: Strategy, losses: list[Tensor]) -> dict[str, Tensor]:
    """Mean losses over the processes, and this process's tensors; what is in parts is put together."""
    mean = strategy.process.sum(torch.stack(losses)) / 2
    tensors = {key: tensor.detach().clone() for key, tensor in strategy.tensors().items()}
    if strategy.cell.strategy == "zero3":
        for key, parameter in strategy.model.named_parameters():
            parts: list[Any] = [None, None]
            dist.all_gather_object(parts, tensors[key])
            tensors[key] = torch.cat(parts).view(parameter.ds_shape)  # type: ignore[attr-defined]
    return {f"{name}/losses": mean} | {f"{name}/tensors/{key}": value for key, value in tensors.items()}


def compute_in_bf16(name: str, process: Process) -> dict[str, Tensor]:
    """Losses of bf16; which types were exchanged, and what the model computes in without our autocast."""
    exchanged = Exchanged()
    with strategy_of(name, process, precision="bf16") as strategy:
        with exchanged:
            losses = [step(strategy, index) for index in range(NUM_STEPS)]
        arrays = outcome(f"{name}/bf16", strategy, losses)
        if name != "ddp":
            with torch.autocast("cpu", enabled=False):
                logits = strategy.wrapped(torch.zeros(2, 3, 8, 8))
            arrays[f"{name}/bf16/is_computed"] = torch.tensor(logits.dtype is torch.bfloat16)
    arrays[f"{name}/bf16/num_exchanges"] = torch.tensor(exchanged.num_floats)
    arrays[f"{name}/bf16/is_float32"] = torch.tensor(exchanged.types == {torch.float32})
    return arrays


class Exchanged(TorchDispatchMode):
    """Notes the types of what the processes exchange, but for bytes and integers."""

    def __init__(self) -> None:
        super().__init__()
        self.types: set[torch.dtype] = set()
        self.num_floats = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "c10d":
            for tensor in torch.utils._pytree.tree_leaves(args):
                if isinstance(tensor, Tensor) and tensor.is_floating_point():
                    self.types.add(tensor.dtype)
                    self.num_floats += 1
        return func(*args, **(kwargs or {}))


def look_into(name: str, process: Process) -> dict[str, Tensor]:
    """What a process keeps, and what remains of it."""
    with strategy_of(name, process, "adamw") as strategy:
        step(strategy, 0)
        held = strategy.held()
        whole = torch.tensor([strategy.num_params, strategy.num_trained])
        strategy.train_mode()
        with strategy.micro_batch(exchange=False):
            strategy.backward(strategy.wrapped(torch.zeros(2, 3, 8, 8)).sum())
        gradients = [p.grad.numel() for p in strategy.model.parameters() if p.grad is not None]
        stage = strategy.wrapped.zero_optimization_stage()
        engine, optimizer = weakref.ref(strategy.wrapped), weakref.ref(strategy.wrapped.optimizer)
    is_linear = F.linear is torch._C._nn.linear
    del strategy
    gc.collect()
    return {
        "held": torch.tensor([held.num_params, held.num_optimizer_values]),
        "whole": whole,
        "num_gradients": torch.tensor(sum(gradients)),
        "stage": torch.tensor(int(stage)),
        "is_gone": torch.tensor(engine() is None and optimizer() is None),
        "is_torch_untouched": torch.tensor(is_linear),
    }


def interrupt(name: str, process: Process, optimizer: str) -> dict[str, Tensor]:
    """Save in mid-training, score with other weights, go on; then go on from what was saved."""
    with strategy_of(name, process, optimizer) as strategy:
        losses = [step(strategy, index) for index in range(SAVED_AFTER)]
        saved = {key: tensor.clone() for key, tensor in strategy.tensors().items()}
        state = strategy.optimizer_state()
        live = strategy.tensors()
        score(strategy)
        with torch.no_grad():
            for key, tensor in live.items():
                tensor.copy_(tensor * 2)
            other = score(strategy)
            for key, tensor in live.items():
                tensor.copy_(saved[key])
            own = score(strategy)
        losses += [step(strategy, index) for index in range(SAVED_AFTER, NUM_STEPS)]
        arrays = outcome(f"{name}/{optimizer}/scored", strategy, losses)
    with strategy_of(name, process, optimizer) as strategy:
        step(strategy, 99)
        with torch.no_grad():
            for key, tensor in strategy.tensors().items():
                tensor.copy_(saved[key])
        strategy.load_optimizer_state(state)
        losses[SAVED_AFTER:] = [step(strategy, index) for index in range(SAVED_AFTER, NUM_STEPS)]
        arrays |= outcome(f"{name}/{optimizer}/resumed", strategy, losses)
        ends = [step(strategy, 11, num_parts=1), step(strategy, 12, num_parts=4)]  # memory ran out
        arrays[f"{name}/{optimizer}/ends"] = torch.stack(ends)
    return arrays | {f"{name}/{optimizer}/scores": torch.stack([own, other])}


def score(strategy: Strategy) -> Tensor:
    strategy.model.eval()
    with torch.no_grad():
        logits: Tensor = strategy.model(torch.ones(2, 3, 8, 8))
    return logits


def overflow(name: str, process: Process) -> dict[str, Tensor]:
    """Train with scaled losses, one of which is infinite on one process; and without a scale."""
    scaler = torch.amp.GradScaler("cpu", init_scale=1024)
    with strategy_of(name, process, scaler=scaler) as strategy:
        before = [step(strategy, index) for index in range(SAVED_AFTER)]
        tensors = {key: tensor.clone() for key, tensor in strategy.tensors().items()}
        step(strategy, SAVED_AFTER, factor=torch.inf if process.rank else 1)
        weights = dict(strategy.model.named_parameters())
        is_kept = all(
            torch.equal(tensor, tensors[key]) for key, tensor in strategy.tensors().items() if key in weights
        )
        with torch.no_grad():
            for key, tensor in strategy.tensors().items():
                tensor.copy_(tensors[key])
        scale = strategy.optimizer_state()["loss_scale"]
        losses = before + [step(strategy, index) for index in range(SAVED_AFTER, NUM_STEPS)]
        arrays = outcome(f"{name}/sgd/scaled", strategy, losses)
    has_diverged = False
    with strategy_of(name, process) as strategy:
        try:
            step(strategy, 0, factor=torch.inf if process.rank else 1)
        except DivergedError:
            has_diverged = True
        else:
            has_diverged = not bool(torch.isfinite(step(strategy, 1)))
    return arrays | {
        f"{name}/is_kept": torch.tensor(is_kept),
        f"{name}/scale": torch.tensor(scale),
        f"{name}/has_diverged": torch.tensor(has_diverged),
    }


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
