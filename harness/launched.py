"""Whether the launcher started what it was asked for, as far as a started process can tell.

    check_launch()    # before torch is loaded; an error says what was asked, what runs and what to type

accelerate can start fewer processes than asked, or shard nothing on the CPU, without a word; srun and
mpirun can start processes that know nothing of each other.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from pathlib import Path

import psutil
import yaml

from harness.errors import HardwareError

_SHARDING = ("USE_FSDP", "USE_DEEPSPEED", "USE_MEGATRON_LM", "USE_PARALLELISM_CONFIG")
_MPI_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")  # those that accelerate reads
_TRUE = ("y", "yes", "t", "true", "on", "1")  # as accelerate's str_to_bool has it


def check_launch(
    use_cpu: bool = False,
    environment: Mapping[str, str] | None = None,
    ancestors: Sequence[Sequence[str]] | None = None,
) -> None:
    """Refuse to go on where something else was started than the launcher was asked for.

    `use_cpu` is the script's own --cpu; `ancestors` are the command lines of the processes above this one,
    the nearest first. What cannot be read is not checked.

    Raises:
        HardwareError: too few processes, processes that nothing will join, or sharding by accelerate.
    """
    environment = os.environ if environment is None else environment
    for name in _SHARDING:
        if environment.get(f"ACCELERATE_{name}", "").lower() in _TRUE:
            raise HardwareError(
                f"accelerate was asked for --{name.lower()} (ACCELERATE_{name} is set), but Verdict shards "
                "by itself: leave it out of the command line and of accelerate's configuration file, and say "
                "--strategy fsdp or --strategy zero2 to harness/run.py instead"
            )
    _check_group(environment)
    if "ACCELERATE_MIXED_PRECISION" in environment:  # which accelerate launch always sets
        words = _launch_words(_command_lines_above() if ancestors is None else ancestors)
        if words is not None:
            _check_accelerate(words, environment, use_cpu)
    if "WORLD_SIZE" not in environment:
        _check_joined(environment, use_cpu)


def _check_group(environment: Mapping[str, str]) -> None:
    """Refuse a WORLD_SIZE that the variables next to it contradict."""
    world_size, rank = _number(environment, "WORLD_SIZE"), _number(environment, "RANK", 0)
    names = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    missing = [name for name in names if not environment.get(name)]
    wrong = None
    if not 0 <= rank < world_size:
        wrong = f"RANK={rank} does not fit WORLD_SIZE={world_size}"
    elif world_size > 1 and missing and _mpi_size(environment) == 1:
        wrong = f"WORLD_SIZE={world_size} is set, but not {', '.join(missing)}"
    if wrong:
        raise HardwareError(
            f"{wrong}: let torchrun or accelerate launch set them, or unset them all for a lone process"
        )


def _check_accelerate(words: list[str], environment: Mapping[str, str], use_cpu: bool) -> None:
    """Refuse what `accelerate launch` was asked for, in these words, and did not start."""
    asked, machines, on_cpu = _asked(words, environment)
    started = max(_number(environment, "WORLD_SIZE"), _mpi_size(environment))
    if asked > started:
        even = -(-asked // machines) * machines
        place = " --machine_rank R --main_process_ip ADDRESS --main_process_port PORT" if machines > 1 else ""
        raise HardwareError(
            f"accelerate launch was asked for {asked} processes, by its options or configuration file, but "
            f"started {started}: start it with 'accelerate launch --multi_gpu --num_processes {even} "
            f"--num_machines {machines}{place} harness/run.py ...' (without a GPU, put "
            "ACCELERATE_USE_CPU=true before it, and no --cpu)"
        )
    if on_cpu and not _runs_on_cpu(environment, use_cpu):
        raise HardwareError(
            "accelerate's configuration file says use_cpu: true, which accelerate launch drops for this "
            "distributed_type: put ACCELERATE_USE_CPU=true before it, or say use_cpu: false to use the GPUs"
        )


def _asked(words: list[str], environment: Mapping[str, str]) -> tuple[int, int, bool]:
    """Processes, machines and whether on the CPU, by the rules of accelerate's `_validate_launch_command`."""
    from accelerate.commands.launch import launch_command_parser

    try:
        with redirect_stderr(io.StringIO()):
            options = launch_command_parser().parse_args(words)
    except SystemExit:  # the words of another version of accelerate
        return 1, 1, False
    cache = Path(environment.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    home = Path(environment.get("HF_HOME", cache)).expanduser()
    path = Path(options.config_file or home / "accelerate" / "default_config.yaml")
    is_read = path.is_file() and (options.config_file or not options.cpu)
    config = (yaml.safe_load(path.read_text(encoding="utf-8")) if is_read else None) or {}
    processes = int(options.num_processes or config.get("num_processes") or 1)
    machines = int(options.num_machines or config.get("num_machines") or 1)
    return max(processes, machines), machines, bool(config.get("use_cpu"))


def _check_joined(environment: Mapping[str, str], use_cpu: bool) -> None:
    """Refuse one of several processes that mpirun or srun started and that nothing will join."""
    num_processes = _mpi_size(environment)
    if num_processes > 1:
        if environment.get("MASTER_ADDR") and _runs_on_cpu(environment, use_cpu):
            return  # accelerate joins them
        raise HardwareError(
            f"MPI started {num_processes} processes that nothing will join: start one torchrun or accelerate "
            "launch on each machine instead (without GPUs, it is enough to set MASTER_ADDR)"
        )
    # A batch script runs once, and has SLURM_NTASKS too; the number of the step is srun's own.
    num_tasks = _number(environment, "SLURM_STEP_NUM_TASKS")
    if num_tasks > 1:
        raise HardwareError(
            f"srun started {num_tasks} processes that nothing will join: let it start one torchrun or "
            "accelerate launch on each node (--ntasks-per-node 1); for separate runs that share the cells of "
            "one --out, put WORLD_SIZE=1 before srun"
        )


def _command_lines_above() -> list[list[str]]:
    """Those of the parent and of its parent, as the launcher may have started a shell or torchrun."""
    found: list[list[str]] = []
    try:
        process = psutil.Process().parent()
        while process is not None and len(found) < 2:
            found.append(process.cmdline())
            process = process.parent()
    except (psutil.Error, OSError):
        pass  # another user's process, or one that has ended: nothing is known about it
    return found


def _launch_words(ancestors: Sequence[Sequence[str]]) -> list[str] | None:
    """What follows `accelerate launch` on the nearest command line that has it."""
    for command in ancestors:
        for place, word in enumerate(command, start=1):
            name = Path(word).name.removesuffix(".exe")
            if name in ("accelerate-launch", "accelerate.commands.launch"):
                return list(command[place:])
            is_tool = name in ("accelerate", "accelerate.commands.accelerate_cli")
            if is_tool and "launch" in command[place : place + 1]:
                return list(command[place + 1 :])
    return None


def _runs_on_cpu(environment: Mapping[str, str], use_cpu: bool) -> bool:
    """Whether `start_process` will leave the GPUs alone."""
    if use_cpu or environment.get("ACCELERATE_USE_CPU", "").lower() in _TRUE:
        return True
    import torch

    return not torch.cuda.is_available()


def _mpi_size(environment: Mapping[str, str]) -> int:
    return max(_number(environment, name) for name in _MPI_SIZES)


def _number(environment: Mapping[str, str], name: str, default: int = 1) -> int:
    text = environment.get(name) or str(default)
    try:
        return int(text)
    except ValueError:
        raise HardwareError(f"{name}={text} is not a number: unset it, or let the launcher set it") from None
