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
from typing import Any, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from harness.cell import CellSpec
from harness.errors import DivergedError
from harness.files import write_arrays
from harness.optimizer import set_lr
from harness.precision import make_autocast
from harness.process import Process
from harness.recipe import Recipe
from harness.strategy import Strategy, make_strategy

CPU = torch.device("cpu")
NUM_STEPS, NUM_MICRO_BATCHES, BATCH_SIZE, NUM_CLASSES = 10, 2, 16, 5
SAVED_AFTER = 4
STAGES = ("zero1", "zero2", "zero3")
OPTIMIZERS = {"sgd": 0.01, "adamw": 0.01}


def main(rank: int, folder: Path) -> None:
    """Join the other process and leave what came out."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    process = Process(rank, rank, 2, CPU, "MULTI_CPU", "gloo")
    arrays: dict[str, Tensor] = {}
    for optimizer in OPTIMIZERS:
        for name in ("ddp", *STAGES):
            arrays |= train(name, process, optimizer)
    for name in ("ddp", *STAGES):
        arrays |= compute_in_bf16(name, process)
    for name in STAGES:
        arrays |= look_into(name, process)
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
        self.convs = nn.ModuleList([nn.Conv2d(8, 8, 3, padding=1) for _ in range(6)])
        self.position = nn.Parameter(torch.zeros(8, 1, 1))
        self.head = nn.Linear(8, NUM_CLASSES)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        features: Tensor = self.block(F.gelu(self.whiten(images_BCHW))) + self.position
        for conv in self.convs:
            features = F.relu(features + conv(features), inplace=True)
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return 8 * logits  # gradients are long: it would be seen if they were clipped


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


def train(name: str, process: Process, optimizer: str) -> dict[str, Tensor]:
    """Train, then go on with other numbers of micro-batches, as where memory runs out."""
    with strategy_of(name, process, optimizer) as strategy:
        losses = [step(strategy, index) for index in range(NUM_STEPS)]
        arrays = outcome(f"{name}/{optimizer}", strategy, losses)
        ends = [step(strategy, NUM_STEPS - 1, num_parts=num_parts) for num_parts in (1, 4, 1)]
        return arrays | outcome(f"{name}/{optimizer}/ends", strategy, ends)


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
    """Train in bf16; what is exchanged, and what the model computes in where the caller has no autocast."""
    exchanged = Exchanged()
    with strategy_of(name, process, precision="bf16") as strategy:
        with exchanged:
            losses = [step(strategy, index) for index in range(NUM_STEPS)]
        arrays = outcome(f"{name}/bf16", strategy, losses)
        with torch.autocast("cpu", enabled=False):  # as deepspeed does on a GPU
            logits = strategy.wrapped(torch.zeros(2, 3, 8, 8))
    return arrays | {
        f"{name}/bf16/output_bytes": torch.tensor(logits.element_size()),
        f"{name}/bf16/exchanged_bytes": torch.tensor(exchanged.sizes),
    }


class Exchanged(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's
    """Notes the sizes in bytes of the floating-point numbers that the processes exchange."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.sizes: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "c10d":
            tensors = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
            self.sizes += [tensor.element_size() for tensor in tensors if tensor.is_floating_point()]
        return func(*args, **(kwargs or {}))


def look_into(name: str, process: Process) -> dict[str, Tensor]:
    """What a process keeps in training, and what remains of it."""
    with strategy_of(name, process) as strategy:
        step(strategy, 0)
        held = strategy.held()
        with strategy.micro_batch(exchange=False):
            logits = strategy.wrapped(torch.zeros(2, 3, 8, 8))
            in_between = strategy.held()
            strategy.backward(logits.sum())
        gradients = [p.grad.numel() for p in strategy.model.parameters() if p.grad is not None]
        stage = cast(Any, strategy.wrapped).zero_optimization_stage()
        whole = [strategy.num_params, strategy.num_trained]
        engine, optimizer = weakref.ref(strategy.wrapped), weakref.ref(strategy.wrapped.optimizer)
    del strategy, logits
    gc.collect()
    return {
        f"{name}/held": torch.tensor([held.num_params, held.num_optimizer_values]),
        f"{name}/held_in_between": torch.tensor(in_between.num_params),
        f"{name}/whole": torch.tensor(whole),
        f"{name}/num_gradients": torch.tensor(sum(gradients)),
        f"{name}/stage": torch.tensor(int(stage)),
        f"{name}/is_gone": torch.tensor(engine() is None and optimizer() is None),
        f"{name}/is_torch_as_it_was": torch.tensor(F.linear is torch._C._nn.linear),
    }


def interrupt(name: str, process: Process, optimizer: str) -> dict[str, Tensor]:
    """Score with other weights in mid-training and go on; then go on from what was saved there."""
    with strategy_of(name, process, optimizer) as strategy:
        losses = [step(strategy, index) for index in range(SAVED_AFTER)]
        live, state = strategy.tensors(), strategy.optimizer_state()
        saved = {key: tensor.clone() for key, tensor in live.items()}
        scores = [score(strategy)]
        set_tensors(live, {key: 2 * tensor for key, tensor in saved.items()})
        scores.append(score(strategy))
        set_tensors(live, saved)
        losses += [step(strategy, index) for index in range(SAVED_AFTER, NUM_STEPS)]
        arrays = outcome(f"{name}/{optimizer}/scored", strategy, losses)
    with strategy_of(name, process, optimizer) as strategy:
        step(strategy, NUM_STEPS)
        set_tensors(strategy.tensors(), saved)
        strategy.load_optimizer_state(state)
        losses[SAVED_AFTER:] = [step(strategy, index) for index in range(SAVED_AFTER, NUM_STEPS)]
        arrays |= outcome(f"{name}/{optimizer}/resumed", strategy, losses)
    return arrays | {f"{name}/{optimizer}/scores": torch.stack(scores)}


@torch.no_grad()
def set_tensors(tensors: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    """Set what a strategy has given as its tensors."""
    for key, tensor in tensors.items():
        tensor.copy_(values[key])


@torch.no_grad()
def score(strategy: Strategy) -> Tensor:
    """Logits of the model itself."""
    strategy.model.eval()
    logits: Tensor = strategy.model(torch.ones(2, 3, 8, 8))
    return logits


def overflow(name: str, process: Process) -> dict[str, Tensor]:
    """Train with scaled losses, one of which is infinite on one process; then without a scale."""
    infinite = torch.inf if process.rank == 1 else 1.0
    with strategy_of(name, process, scaler=torch.amp.GradScaler("cpu", init_scale=1024)) as strategy:
        losses = [step(strategy, index) for index in range(SAVED_AFTER)]
        kept = {key: tensor.clone() for key, tensor in strategy.tensors().items()}
        step(strategy, SAVED_AFTER, factor=infinite)
        now = strategy.tensors()
        is_skipped = all(torch.equal(now[key], kept[key]) for key, _ in strategy.model.named_parameters())
        set_tensors(now, kept)  # running statistics, too
        losses += [step(strategy, index) for index in range(SAVED_AFTER, NUM_STEPS)]
        arrays = outcome(f"{name}/sgd/scaled", strategy, losses)
        scale = strategy.optimizer_state()["loss_scale"]
    with strategy_of(name, process) as strategy:
        try:
            step(strategy, 0, factor=infinite)
            has_diverged = not bool(torch.isfinite(step(strategy, 1)))
        except DivergedError:
            has_diverged = True
    return arrays | {
        f"{name}/is_skipped": torch.tensor(is_skipped),
        f"{name}/scale": torch.tensor(scale),
        f"{name}/has_diverged": torch.tensor(has_diverged),
    }


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
