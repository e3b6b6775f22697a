"""ZeRO: optimizer state, gradients and weights in parts over the processes, by deepspeed.

    strategy = Zero(cell, model, scaler, process)    # stage 1, 2 or 3: cell.strategy is zero1, zero2 or zero3

Rajbhandari et al. 2020, arXiv 1910.02054, section 5: stage 1 spreads the state of the optimizer, stage 2
the gradients as well, stage 3 also the weights, which are put together for one layer at a time. Weights
and exchanged gradients are float32 whatever the precision: autocast and the scaling of fp16 losses are the
harness's own, not deepspeed's. Nothing is compiled.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from harness.cell import CellSpec
from harness.errors import DivergedError, HardwareError
from harness.precision import Autocast, make_autocast
from harness.process import Process
from harness.saved_weights import look_up_weights
from harness.strategy import Held, Strategy

BUCKET_VALUES = 2**23
"""Gradients that are exchanged together, and weights that are updated together: deepspeed copies as many."""

TOGETHER_SHARE = 12
"""Stage 3 puts weights together ahead of the layer that needs them while less than one in so many are."""


class Zero(Strategy):
    """The stage of ZeRO that the cell's strategy names.

    deepspeed keeps convolution weights contiguous, not as channels-last. In stage 3, a gradient that is
    not finite raises a DivergedError in `step`; in the other stages it spoils the weights, as in DDP.
    """

    def __init__(
        self, cell: CellSpec, model: nn.Module, scaler: torch.amp.GradScaler, process: Process
    ) -> None:
        deepspeed = _load_deepspeed(process)
        super().__init__(cell, model, scaler, process)
        self._stage = int(cell.strategy.removeprefix("zero"))
        self._loss_scale = _LossScale(scaler.get_scale())
        self.optimizer.state.clear()  # is about whole weights
        self.optimizer.param_groups = [
            group | {"params": params}
            for group in self.optimizer.param_groups
            for params in _pieces(group["params"])
        ]
        model.to(memory_format=torch.contiguous_format)  # deepspeed views weights as bytes to send them
        _compute_in(make_autocast(cell.precision, process.device), model)
        if self._stage == 3:
            look_up_weights(model)
        self._engine: Any = deepspeed.initialize(
            model=model, optimizer=self.optimizer, config=self._config()
        )[0]
        self._zero: Any = self._engine.optimizer
        for master, weights in zip(self._masters(), self._weights(), strict=True):
            master.data = weights  # deepspeed's copy of them is for weights of half precision
        if self._stage < 3:
            self._zero._link_all_hp_params()  # or the copy is kept by what looks into it
        self.wrapped = self._engine
        self._hooks = [self._engine.module_forward_pre_hook, self._engine.module_forward_post_hook]
        if self._stage == 3:
            self._hooks.append(model.register_forward_hook(self._take_apart))
        self._scale_losses()

    def _config(self) -> dict[str, Any]:
        bucket = min(BUCKET_VALUES, self.num_trained)
        zero: dict[str, Any] = {
            "stage": self._stage,
            "reduce_bucket_size": bucket,
            "contiguous_gradients": False,  # or gradients are copied once more before they are exchanged
        }
        if self._stage == 3:
            zero |= {
                "stage3_param_persistence_threshold": 0,
                # or models of less than 10^9 weights stay together from forward to backward
                "stage3_max_reuse_distance": 0,
                "stage3_max_live_parameters": self.num_params // TOGETHER_SHARE,
                "stage3_prefetch_bucket_size": bucket,
                "memory_efficient_linear": False,  # or torch's is replaced, for other strategies too
            }
        else:
            zero["compute_grad_norm"] = self._scaler.is_enabled()  # finds the gradients that overflow
        return {
            "train_micro_batch_size_per_gpu": 1,  # a number that deepspeed asks for and only reports
            "zero_allow_untested_optimizer": True,  # SGD
            "gradient_clipping": 0.0,  # or every gradient is clipped to a norm of 1
            "zero_optimization": zero,
            "timers": {"throughput": {"enabled": False}},  # waits for the GPU in every step
        }

    def wrap(self) -> None:
        """Nothing: the engine has been made, and all layers stay trained."""

    def micro_batch(self, exchange: bool) -> AbstractContextManager[None]:
        """See `Strategy.micro_batch`; stages 2 and 3 exchange gradients with every micro-batch."""
        self._engine.set_gradient_accumulation_boundary(exchange)
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """See `Strategy.backward`."""
        self._engine.backward(loss)

    def exchange_gradients(self) -> None:
        """Not possible: gradients in parts are exchanged as they are made."""
        raise NotImplementedError

    def drop_gradients(self) -> None:
        """Not possible: deepspeed has them in several places."""
        raise NotImplementedError

    def step(self) -> None:
        """See `Strategy.step`.

        Raises:
            DivergedError: a gradient is not finite, and stage 3 will not use it.
        """
        self._engine.step()
        was_skipped = bool(self._zero.overflow)  # decided by all processes together
        if self._scaler.is_enabled():
            self._loss_scale.update(self._scaler, was_skipped)
            self._scale_losses()
        elif was_skipped:
            raise DivergedError(
                "the gradient became infinite or not a number: try a lower learning rate or more warm-up"
            )

    def tensors(self) -> dict[str, Tensor]:
        """See `Strategy.tensors`."""
        tensors = self.model.state_dict()
        if self._stage == 3:
            parameters = self.model.named_parameters(remove_duplicate=False)
            tensors |= {name: _part(parameter, self.process.rank) for name, parameter in parameters}
        return tensors

    def held(self) -> Held:
        """See `Strategy.held`."""
        parameters = list(self.model.parameters())
        num_params = sum(parameter.numel() for parameter in parameters)  # stage 3: what is together now
        if self._stage == 3:
            num_params += sum(cast(Any, parameter).ds_tensor.numel() for parameter in parameters)
        states = [value for state in self.optimizer.state.values() for value in state.values()]
        pairs = zip(self._masters(), self._weights(), strict=True)
        copies = [master for master, weights in pairs if master.data_ptr() != weights.data_ptr()]
        values = [*copies, *(value for value in states if value.ndim > 0)]
        return Held(num_params, sum(value.numel() for value in values))

    def optimizer_state(self) -> dict[str, Any]:
        """See `Strategy.optimizer_state`; copies, on the host."""
        states = [self.optimizer.state[master] for master in self._masters()]
        return {
            "states": [{name: _on_host(value) for name, value in state.items()} for state in states],
            "loss_scale": self._loss_scale.value,
            "num_good_steps": self._loss_scale.num_good_steps,
        }

    @torch.no_grad()
    def load_optimizer_state(self, state: dict[str, Any]) -> None:
        """See `Strategy.load_optimizer_state`."""
        is_fused = bool(self.optimizer.defaults["fused"])  # then the number of steps is on the device, too
        for master, values in zip(self._masters(), state["states"], strict=True):
            self.optimizer.state[master] = {
                name: value.to(master.device, copy=True) if is_fused or value.ndim > 0 else value.clone()
                for name, value in values.items()
            }
        self._loss_scale = _LossScale(state["loss_scale"], state["num_good_steps"])
        self._scale_losses()

    def close(self) -> None:
        """Let go of the engine and, in stage 3, of the weights: the model is of no use then."""
        self._engine.destroy()
        for hook in self._hooks:
            hook.remove()
        if self._stage == 3:
            _forget(self.model)
        self.optimizer.state.clear()
        self.wrapped = self.model
        self._engine = self._zero = None

    def _masters(self) -> list[Tensor]:
        """What this process's part of the optimizer works on, one flat tensor for each group."""
        name = "fp32_partitioned_groups_flat" if self._stage == 3 else "single_partition_of_fp32_groups"
        return cast(list[Tensor], getattr(self._zero, name))

    def _weights(self) -> list[Tensor]:
        """The part of the weights themselves that belongs to each master."""
        if self._stage == 3:
            return cast(list[Tensor], self._zero.fp16_partitioned_groups_flat)
        return [parts[self.process.rank] for parts in self._zero.parallel_partitioned_bit16_groups]

    def _scale_losses(self) -> None:
        if self._scaler.is_enabled():
            self._zero.override_loss_scale(self._loss_scale.value)

    def _take_apart(self, *_: object) -> None:
        """Let nothing stay together after scoring, or weights that are set next would not be seen."""
        if not torch.is_grad_enabled():
            self._zero.empty_partition_cache()


@dataclass
class _LossScale:
    """The factor on losses in fp16, by the rule of torch's GradScaler, which cannot see gradients in parts.

    deepspeed's own scaler is of no use: with autocast, each process decides by its part of the gradients
    alone, and once for each group of parameters.
    """

    value: float
    num_good_steps: int = 0

    def update(self, scaler: torch.amp.GradScaler, was_skipped: bool) -> None:
        """Take in the outcome of a step."""
        self.num_good_steps = 0 if was_skipped else self.num_good_steps + 1
        if was_skipped:
            self.value *= scaler.get_backoff_factor()
        elif self.num_good_steps == scaler.get_growth_interval():
            self.value, self.num_good_steps = self.value * scaler.get_growth_factor(), 0


def _load_deepspeed(process: Process) -> ModuleType:
    """Import deepspeed for the process's device, quiet but for errors.

    Raises:
        HardwareError: it is not there, or was loaded for another device.
    """
    device = process.device.type
    os.environ["DS_ACCELERATOR"] = device
    os.environ.setdefault("LOCAL_RANK", str(process.local_rank))
    # or deepspeed asks numactl, in every step
    os.environ.setdefault("LOCAL_SIZE", os.environ.get("LOCAL_WORLD_SIZE", str(process.world_size)))
    try:
        with warnings.catch_warnings(action="ignore"):
            import deepspeed  # type: ignore[import-untyped]
            from deepspeed.utils import groups  # type: ignore[import-untyped]
            from deepspeed.utils.logging import set_log_level_from_string  # type: ignore[import-untyped]
    except ImportError as error:
        raise HardwareError(
            f"strategies zero1, zero2 and zero3 need the package deepspeed, which is for Linux ({error}): "
            "install it, or use --strategy fsdp"
        ) from None
    if deepspeed.accelerator.get_accelerator().device_name() != device:
        raise HardwareError(f"deepspeed was loaded for another device than {device}: start a new process")
    set_log_level_from_string("error")
    warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)
    # no C++ extensions: the one for shared memory takes 80 s to compile and would serve inference only
    deepspeed.ops.__compatible_ops__ = {}
    groups._WORLD_GROUP = dist.group.WORLD  # or it makes another group, with a time-out of its own
    return cast(ModuleType, deepspeed)


def _compute_in(autocast: Autocast, model: nn.Module) -> None:
    """Let the model's forward pass run in the precision: on a GPU, deepspeed turns the caller's autocast off.

    deepspeed's own autocast would exchange gradients in that precision, too, and so for all later engines.
    """
    forward: Callable[..., Tensor] = model.forward

    @functools.wraps(forward)
    def in_precision(*inputs: Tensor) -> Tensor:
        with autocast.context():
            return forward(*inputs)

    model.forward = in_precision


def _pieces(parameters: list[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """The parameters in lists of about `BUCKET_VALUES` values each."""
    piece: list[nn.Parameter] = []
    for parameter in parameters:
        if piece and sum(p.numel() for p in piece) + parameter.numel() > BUCKET_VALUES:
            yield piece
            piece = []
        piece.append(parameter)
    if piece:
        yield piece


def _part(parameter: Any, rank: int) -> Tensor:
    """The part of a stage 3 parameter that this process has, without the padding."""
    part: Tensor = parameter.ds_tensor
    size = part.numel()
    return part.detach()[: max(0, min(size, parameter.ds_numel - rank * size))]


def _on_host(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)


def _forget(model: nn.Module) -> None:
    """Cut what stage 3 keeps for the life of the process, the modules of a model, from all that is large."""
    from deepspeed.runtime.zero import parameter_offload  # type: ignore[import-untyped]

    parameter_offload.FWD_MODULE_STACK.clear()
    for parameter in cast(Iterator[Any], model.parameters()):
        del parameter.ds_tensor, parameter._z3_optimizer
        parameter.data = parameter.new_empty(0)
