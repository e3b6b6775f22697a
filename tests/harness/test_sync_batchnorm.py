"""Two processes with a part of a batch each, against torch's BatchNorm of the whole batch in one process."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from harness.errors import UsageError
from harness.sync_batchnorm import is_synchronized, synchronize_batchnorm

CPU, GPU = torch.device("cpu"), torch.device("cuda")
NUM_STEPS = 2
IMAGES = (8, 6, 5, 7)
BF16 = torch.bfloat16


@dataclass(frozen=True)
class Case:
    """A layer, its input, and how many rows of that the first process gets."""

    make: Callable[[], _BatchNorm]
    shape: tuple[int, ...] = IMAGES
    num_first: int = 4
    dtype: torch.dtype = torch.float32
    mean: float = 1.0
    std: float = 2.0
    layout: torch.memory_format = torch.contiguous_format
    tolerance: float = 1e-5
    on_gpu: bool = False

    def rows(self, rank: int) -> slice:
        return slice(0, self.num_first) if rank == 0 else slice(self.num_first, None)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """The whole batch, and the gradient of its output."""
        generator = torch.Generator().manual_seed(step)
        inputs = self.mean + self.std * torch.randn(self.shape, generator=generator, dtype=torch.double)
        grad = 0.5 + torch.randn(self.shape, generator=generator, dtype=torch.double)
        return inputs.to(self.dtype).contiguous(memory_format=self.layout), grad.to(self.dtype)


class CastToDouble(Case):
    """The same values as those of a case, in double precision."""

    def __init__(self, case: Case) -> None:
        super().__init__(**vars(case))

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        inputs, grad = super().batch(step)
        return inputs.double(), grad.double()


def norm2d(**options: Any) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(IMAGES[1], **options)
    if norm.affine:
        nn.init.uniform_(norm.weight, 0.5, 1.5, torch.Generator().manual_seed(0))
        nn.init.uniform_(norm.bias, -1, 1, torch.Generator().manual_seed(1))
    return norm


def frozen_scale() -> nn.BatchNorm2d:
    norm = norm2d(momentum=0.4)
    norm.weight.requires_grad_(False).fill_(1)
    return norm


CHANNELS_LAST = torch.channels_last
CASES = {
    "float32": Case(norm2d, on_gpu=True),
    "channels_last": Case(norm2d, layout=CHANNELS_LAST, on_gpu=True),
    "double": Case(lambda: norm2d().double(), dtype=torch.double, tolerance=1e-12),
    "bfloat16": Case(norm2d, dtype=BF16, tolerance=1e-2, on_gpu=True),
    "bfloat16_channels_last": Case(norm2d, dtype=BF16, layout=CHANNELS_LAST, tolerance=1e-2, on_gpu=True),
    "bfloat16_parameters": Case(lambda: norm2d().to(BF16), dtype=BF16, tolerance=2e-2),
    "frozen_scale": Case(frozen_scale, on_gpu=True),
    "unequal": Case(norm2d, num_first=3, on_gpu=True),
    "one_image": Case(norm2d, num_first=1),
    "no_image": Case(norm2d, num_first=0),
    "no_image_in_bfloat16": Case(norm2d, num_first=0, dtype=BF16, tolerance=1e-2),
    "not_affine": Case(lambda: norm2d(affine=False)),
    "not_affine_in_bfloat16": Case(lambda: norm2d(affine=False), dtype=BF16, tolerance=1e-2),
    "no_running_statistics": Case(lambda: norm2d(track_running_stats=False)),
    "plain_average": Case(lambda: norm2d(momentum=None)),
    "large_eps": Case(lambda: norm2d(eps=0.5)),
    "features": Case(lambda: nn.BatchNorm1d(6), shape=(8, 6), num_first=5, on_gpu=True),
    "sequences": Case(lambda: nn.BatchNorm1d(6), shape=(8, 6, 9)),
    "volumes": Case(lambda: nn.BatchNorm3d(6), shape=(8, 6, 3, 4, 2), layout=torch.channels_last_3d),
    "large_mean": Case(norm2d, mean=1e4, std=0.1),
    "large_mean_channels_last": Case(norm2d, mean=1e4, std=0.1, layout=CHANNELS_LAST),
}
EXACT = [name for name in CASES if "large_mean" not in name]


def train(case: Case, norm: _BatchNorm, rows: slice, device: torch.device = CPU) -> dict[str, Tensor]:
    """The last output and its input's gradient, the sums of the others, and what the layer tracked."""
    results: dict[str, Tensor] = {}
    for step in range(NUM_STEPS):
        inputs, grad = (whole[rows].to(device) for whole in case.batch(step))
        inputs.requires_grad_()
        output = norm(inputs)
        output.backward(grad)
        assert inputs.grad is not None
        results |= {"output": output.detach(), "input_gradient": inputs.grad}
    results |= {f"{name}_gradient": p.grad for name, p in norm.named_parameters() if p.grad is not None}
    return {name: value.cpu() for name, value in (results | dict(norm.named_buffers())).items()}


def train_together(case: Case, rank: int, device: torch.device) -> dict[str, Tensor]:
    model = nn.Sequential(case.make()).to(device)
    assert synchronize_batchnorm(model, device) == 1
    return train(case, cast(_BatchNorm, model[0]), case.rows(rank), device)


def evaluate(rank: int) -> dict[str, Tensor]:
    """What a layer that has trained gives in evaluation, and what torch's gives with the same state."""
    model, plain = nn.Sequential(norm2d()), nn.Sequential(norm2d())
    synchronize_batchnorm(model, CPU)
    model(CASES["float32"].batch(0)[0] + rank)
    plain.load_state_dict(model.state_dict())
    inputs, _ = CASES["float32"].batch(1)
    return {"evaluation": model.eval()(inputs), "plain_evaluation": plain.eval()(inputs)}


def small_net() -> nn.Sequential:
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(6, 6, 3), frozen_scale(), nn.GELU())
    return nn.Sequential(first, nn.Conv2d(6, 6, 3), norm2d(), nn.Flatten(), nn.LazyLinear(3))


def net_gradients(net: nn.Module, rows: slice) -> dict[str, Tensor]:
    inputs, labels = CASES["float32"].batch(0)[0], torch.arange(8) % 3
    loss = F.cross_entropy(net(inputs[rows]), labels[rows])
    loss.backward()  # type: ignore[no-untyped-call]  # torch's
    return {name.removeprefix("module."): p.grad for name, p in net.named_parameters() if p.grad is not None}


def train_with_ddp(rank: int) -> dict[str, Tensor]:
    net = small_net()
    net(CASES["float32"].batch(0)[0])  # gives the lazy layer its shape
    assert synchronize_batchnorm(net, CPU) == 2
    return net_gradients(DistributedDataParallel(net), CASES["float32"].rows(rank))


def count_costs(rank: int) -> dict[str, int]:
    """How often the processes wait for each other, and what is kept for the backward pass."""
    calls = {"all_gather": 0, "all_reduce": 0}
    kept: dict[int, int] = {}

    def counted(name: str) -> Callable[..., Any]:
        original = getattr(dist, name)

        def call(*args: Any) -> Any:
            calls[name] += 1
            return original(*args)

        return call

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    model = nn.Sequential(norm2d())
    synchronize_batchnorm(model, CPU)
    inputs = CASES["bfloat16"].batch(0)[0].requires_grad_()
    with pytest.MonkeyPatch.context() as patch, torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        for name in calls:
            patch.setattr(dist, name, counted(name))
        output = model(inputs)
        forward_calls = sum(calls.values())
        output.sum().backward()
    return {"forward": forward_calls, "all": sum(calls.values()), "kept_bytes": sum(kept.values())}


def too_small_a_batch(rank: int) -> str:
    model = nn.Sequential(norm2d())
    synchronize_batchnorm(model, CPU)
    with pytest.raises(UsageError) as caught:
        model(torch.zeros(1 - rank, 6, 1, 1))
    return str(caught.value)


def work(rank: int, folder: Path, device: torch.device) -> None:
    """One of two processes: leaves FOLDER/RANK.pt."""
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'store'}",
        rank=rank,
        world_size=2,
        timeout=timedelta(minutes=4),
    )
    names = [name for name, case in CASES.items() if case.on_gpu or device == CPU]
    results: dict[str, Any] = {name: train_together(CASES[name], rank, device) for name in names}
    if device == CPU:
        results["costs"] = count_costs(rank)
        results["evaluation"] = evaluate(rank)
        results["ddp"] = train_with_ddp(rank)
        results["too_small"] = too_small_a_batch(rank)
    dist.destroy_process_group()
    torch.save(results, folder / f"{rank}.pt")


Results = list[dict[str, Any]]


def run_two(folder: Path, device: torch.device) -> Results:
    spawn(work, (folder, device), nprocs=2, daemon=True)  # type: ignore[no-untyped-call]  # torch's
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What each of two processes on the CPU got, by case."""
    return run_two(tmp_path_factory.mktemp("on_cpu"), CPU)


@pytest.fixture(scope="module")
def together_on_gpu(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The same from two processes that share one GPU."""
    return run_two(tmp_path_factory.mktemp("on_gpu"), GPU)


def put_together(first: dict[str, Tensor], second: dict[str, Tensor]) -> dict[str, Tensor]:
    """What one process would have got: rows after each other, gradients of parameters summed."""
    result = dict(first)
    for name in first:
        if name in ("output", "input_gradient"):
            result[name] = torch.cat([first[name], second[name]])
        elif name.endswith("_gradient"):
            result[name] = first[name] + second[name]
    return result


def check_same(results: Results, name: str) -> None:
    case = CASES[name]
    expected = train(case, case.make(), slice(None))
    actual = put_together(results[0][name], results[1][name])
    assert actual.keys() == expected.keys()
    for key, value in expected.items():
        tolerance = case.tolerance * max(1.0, value.abs().max().item())
        message = partial("{}: {}".format, key)
        torch.testing.assert_close(actual[key], value, rtol=0, atol=tolerance, msg=message)


@pytest.mark.parametrize("name", EXACT)
def test_two_parts_of_a_batch_train_like_the_whole(together: Results, name: str) -> None:
    check_same(together, name)


@pytest.mark.gpu
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.on_gpu])
def test_two_parts_of_a_batch_train_like_the_whole_on_a_gpu(together_on_gpu: Results, name: str) -> None:
    check_same(together_on_gpu, name)


@pytest.mark.parametrize("name", CASES)
def test_both_processes_track_the_same_bits(together: Results, name: str) -> None:
    first, second = (results[name] for results in together)
    for key in set(first) & {"running_mean", "running_var", "num_batches_tracked"}:
        assert torch.equal(first[key], second[key])


@pytest.mark.parametrize("name", ["large_mean", "large_mean_channels_last"])
def test_a_large_mean_costs_no_more_accuracy_than_in_torchs_own(together: Results, name: str) -> None:
    case = CASES[name]
    truth = train(CastToDouble(case), case.make().double(), slice(None))
    native = train(case, case.make(), slice(None))
    actual = put_together(together[0][name], together[1][name])
    for key in ("output", "input_gradient", "weight_gradient", "running_mean", "running_var"):
        errors = [(got[key] - truth[key]).abs().max().item() for got in (actual, native)]
        rounding = 1e-6 * truth[key].abs().max().item()
        assert errors[0] <= 2 * errors[1] + rounding, (key, errors)


@pytest.mark.parametrize("name", ["bfloat16", "bfloat16_channels_last"])
def test_bfloat16_is_summed_in_float32(together: Results, name: str) -> None:
    case = CASES[name]
    truth = train(CastToDouble(case), case.make().double(), slice(None))
    actual = put_together(together[0][name], together[1][name])
    for key in ("running_mean", "running_var", "weight_gradient", "bias_gradient"):
        tolerance = 1e-4 * truth[key].abs().max().item()  # a bfloat16 is rounded by 4e-3
        torch.testing.assert_close(actual[key].double(), truth[key], rtol=0, atol=tolerance)


def test_a_frozen_scale_gets_no_gradient(together: Results) -> None:
    for results in together:
        assert "weight_gradient" not in results["frozen_scale"]
        assert "bias_gradient" in results["frozen_scale"]


def test_evaluation_is_torchs_own(together: Results) -> None:
    for results in together:
        evaluation = results["evaluation"]
        assert torch.equal(evaluation["evaluation"], evaluation["plain_evaluation"])
    assert torch.equal(*(results["evaluation"]["evaluation"] for results in together))


def test_ddp_averages_to_the_gradients_of_the_whole_batch(together: Results) -> None:
    net = small_net()
    with torch.no_grad():
        net(CASES["float32"].batch(0)[0])
    expected = net_gradients(net, slice(None))
    for results in together:
        assert results["ddp"].keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(results["ddp"][name], value, rtol=1e-4, atol=1e-5)


def test_processes_exchange_once_in_each_direction_and_keep_the_input_alone(together: Results) -> None:
    num_channels, num_values = IMAGES[1], 8 * 6 * 5 * 7
    for results in together:
        costs = results["costs"]
        assert (costs["forward"], costs["all"]) == (1, 2)
        assert costs["kept_bytes"] <= 2 * num_values + 4 * 4 * num_channels


def test_one_value_per_channel_is_refused_by_every_process(together: Results) -> None:
    for results in together:
        assert "has 1 value(s) per channel" in results["too_small"]


def test_a_process_alone_trains_as_torch_does() -> None:
    for case in (CASES["float32"], CASES["bfloat16"]):
        model = nn.Sequential(case.make())
        synchronize_batchnorm(model, CPU)
        actual = train(case, cast(_BatchNorm, model[0]), slice(None))
        expected = train(case, case.make(), slice(None))
        for name, value in expected.items():
            assert torch.equal(actual[name], value), name


for_each_device = pytest.mark.parametrize("device", [CPU, GPU])
"""Layers can be made for a GPU without one."""


@for_each_device
def test_parameters_buffers_settings_and_names_stay(device: torch.device) -> None:
    norms = [frozen_scale(), norm2d(eps=0.1, affine=False), nn.BatchNorm1d(3), nn.BatchNorm3d(2).eval()]
    model = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Sequential(*norms), nn.LayerNorm(3), nn.InstanceNorm2d(3))
    settings = [{name: vars(norm)[name] for name in nn.BatchNorm2d.__constants__} for norm in norms]
    training = [norm.training for norm in norms]
    kinds = [type(norm) for norm in norms]
    assert not any(map(is_synchronized, model.modules()))
    before = [*model.named_parameters(), *model.named_buffers()]
    trained = [parameter.requires_grad for parameter in model.parameters()]

    assert synchronize_batchnorm(model, device) == 4
    after = [*model.named_parameters(), *model.named_buffers()]
    assert [name for name, _ in after] == [name for name, _ in before]
    assert all(old is new for (_, old), (_, new) in zip(before, after, strict=True))
    assert [parameter.requires_grad for parameter in model.parameters()] == trained
    for norm, kind in zip(norms, kinds, strict=True):
        assert isinstance(norm, kind)
        assert is_synchronized(norm)
        assert isinstance(norm, nn.SyncBatchNorm) == (device == GPU)
    assert [{name: vars(norm)[name] for name in nn.BatchNorm2d.__constants__} for norm in norms] == settings
    assert [norm.training for norm in norms] == training
    assert synchronize_batchnorm(model, device) == 0


def test_layers_for_a_gpu_are_plain_ones_in_a_process_alone() -> None:
    model = nn.Sequential(norm2d())
    synchronize_batchnorm(model, GPU)
    actual = train(CASES["float32"], cast(_BatchNorm, model[0]), slice(None))
    for name, value in train(CASES["float32"], norm2d(), slice(None)).items():
        assert torch.equal(actual[name], value), name


def test_on_a_gpu_an_empty_batch_is_refused() -> None:
    model = nn.Sequential(norm2d())
    synchronize_batchnorm(model, GPU)
    with pytest.raises(UsageError, match="needs an image in the batch of each"):
        model(torch.zeros(0, 6, 2, 2))


@for_each_device
def test_the_number_of_dimensions_is_checked_as_before(device: torch.device) -> None:
    model = nn.Sequential(norm2d())
    synchronize_batchnorm(model, device)
    with pytest.raises(ValueError, match="expected 4D input"):
        model(torch.zeros(2, 6))


@for_each_device
def test_timms_layer_keeps_its_activation(device: torch.device) -> None:
    layers = pytest.importorskip("timm.layers")
    inputs = torch.randn(4, 6, 3, 3)
    model = nn.Sequential(layers.BatchNormAct2d(6, act_layer=nn.SiLU))
    expected = F.silu(nn.BatchNorm2d(6)(inputs))
    assert synchronize_batchnorm(model, device) == 1
    assert isinstance(model[0], nn.BatchNorm2d)
    assert torch.equal(model(inputs), expected)


class OtherBatchNorm(nn.BatchNorm2d):
    """Of a class that says nothing of what its forward pass is."""


@pytest.mark.parametrize("norm", [OtherBatchNorm(3), nn.SyncBatchNorm(3)])
def test_an_unknown_class_is_named_and_nothing_is_changed(norm: _BatchNorm) -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), norm)
    with pytest.raises(UsageError, match=rf"class .*{type(norm).__name__} cannot"):
        synchronize_batchnorm(model, CPU)
    assert type(model[0]) is nn.BatchNorm2d


def test_a_model_without_batchnorm_has_none_to_change() -> None:
    assert synchronize_batchnorm(nn.Sequential(nn.Linear(2, 2), nn.GroupNorm(1, 2)), CPU) == 0
