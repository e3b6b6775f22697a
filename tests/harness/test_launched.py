"""What a launcher was asked for against what it started: command lines and variables, then real launches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from harness.errors import HardwareError
from harness.launched import check_launch

ROOT = Path(__file__).parents[2]
UNDER_ACCELERATE = {"ACCELERATE_MIXED_PRECISION": "no"}
TWO_OF_A_GROUP = {
    "WORLD_SIZE": "2",
    "RANK": "1",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "1",
}
WAYS_TO_CALL_IT = {
    "accelerate": ["python", "/usr/bin/accelerate", "launch"],
    "accelerate of another package": ["/venv/bin/python", "-u", "/venv/bin/accelerate-launch"],
    "its module": ["python", "-W", "error", "-m", "accelerate.commands.launch"],
    "the module of the tool": ["python", "-m", "accelerate.commands.accelerate_cli", "launch"],
}
WORKING_LINE = "'accelerate launch --multi_gpu --num_processes 2 --num_machines 1 harness/run.py ...'"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that stands for ~/.cache/huggingface, empty; a machine without a GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return tmp_path


def below_accelerate(options: str, home: Path, **environment: str) -> None:
    """Check as a process that `accelerate launch` started with these options."""
    command = ["python", "/usr/bin/accelerate", "launch", *options.split(), "harness/run.py"]
    check_launch(False, UNDER_ACCELERATE | {"HF_HOME": str(home)} | environment, [command])


def write_config(path: Path, **values: object) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{name}: {value}\n" for name, value in values.items()))
    return path


@pytest.mark.parametrize("call", WAYS_TO_CALL_IT)
@pytest.mark.parametrize("option", [["--num_processes", "2"], ["--num-processes=2"]])
def test_one_process_instead_of_two_is_refused(home: Path, call: str, option: list[str]) -> None:
    command = [*WAYS_TO_CALL_IT[call], "--cpu", *option, "harness/run.py", "--epochs", "2"]
    environment = UNDER_ACCELERATE | {"HF_HOME": str(home)}
    with pytest.raises(HardwareError, match=r"asked for 2 processes.*but started 1") as caught:
        check_launch(False, environment, [command])
    assert WORKING_LINE in str(caught.value)
    assert "ACCELERATE_USE_CPU=true" in str(caught.value)
    with pytest.raises(HardwareError, match="asked for 2 processes"):
        check_launch(False, environment, [["bash", "train.sh"], command])


@pytest.mark.parametrize(
    "command",
    [
        "python /usr/bin/accelerate launch harness/run.py",
        "python /usr/bin/accelerate launch --cpu --num_processes 1 harness/run.py",
        "python /usr/bin/accelerate launch harness/run.py --num_processes 2",
        "python /usr/bin/accelerate launch -m harness.run --num_processes 2",
        "python /usr/bin/accelerate config --num_processes 2",
        "python /usr/bin/accelerate launch --no-such-option 2 --num_processes 2 harness/run.py",
        "python /usr/bin/accelerate",
        "python -m torch.distributed.run --standalone --nproc-per-node 2 harness/run.py",
        "python -m pytest -n 2 tests",
        "bash",
        "",
    ],
)
def test_other_command_lines_are_let_through(home: Path, command: str) -> None:
    check_launch(False, UNDER_ACCELERATE | {"HF_HOME": str(home)}, [command.split(), ["bash"]])


def test_without_a_launcher_nothing_is_asked_and_nothing_refused() -> None:
    check_launch(False, {}, [])
    check_launch(False, {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}, [])
    check_launch(False, TWO_OF_A_GROUP, [["python", "-m", "torch.distributed.run"]])


def test_as_many_processes_as_asked_for_are_let_through(home: Path) -> None:
    below_accelerate("--multi_gpu --num_processes 2 --num_machines 1", home, **TWO_OF_A_GROUP)


def test_a_configuration_file_counts_unless_an_option_says_otherwise(home: Path) -> None:
    config = write_config(home / "two.yaml", distributed_type="MULTI_CPU", num_processes=2)
    with pytest.raises(HardwareError, match="asked for 2 processes"):
        below_accelerate(f"--config_file {config}", home)
    with pytest.raises(HardwareError, match="asked for 2 processes"):
        below_accelerate(f"--config_file {config} --cpu", home)
    with pytest.raises(HardwareError, match="asked for 3 processes"):
        below_accelerate(f"--config_file {config} --num_processes 3", home)
    below_accelerate(f"--config_file {config} --num_processes 1", home)
    below_accelerate(f"--config_file {home / 'gone.yaml'}", home)
    below_accelerate(f"--config_file {ROOT / 'accelerate_config.yaml'}", home)


def test_the_users_default_configuration_counts_except_with_cpu(home: Path) -> None:
    write_config(home / "accelerate" / "default_config.yaml", distributed_type="MULTI_CPU", num_processes=2)
    with pytest.raises(HardwareError, match="asked for 2 processes"):
        below_accelerate("", home)
    below_accelerate("--cpu", home)  # accelerate does not read it then
    one = write_config(home / "one.yaml", distributed_type="NO")
    below_accelerate(f"--config_file {one}", home)


def test_processes_that_do_not_spread_evenly_over_the_machines_are_refused(home: Path) -> None:
    options = "--multi_gpu --num_processes 3 --num_machines 2 --machine_rank 1 --main_process_ip head"
    with pytest.raises(HardwareError, match=r"asked for 3.*but started 2") as caught:
        below_accelerate(options, home, **TWO_OF_A_GROUP)
    assert "--num_processes 4 --num_machines 2 --machine_rank R" in str(caught.value)


def test_a_configured_cpu_that_would_be_a_gpu_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write_config(home / "two.yaml", distributed_type="MULTI_GPU", num_processes=2, use_cpu="true")
    below_accelerate(f"--config_file {config}", home, **TWO_OF_A_GROUP)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(HardwareError, match="says use_cpu: true"):
        below_accelerate(f"--config_file {config}", home, **TWO_OF_A_GROUP)
    below_accelerate(f"--config_file {config}", home, **TWO_OF_A_GROUP, ACCELERATE_USE_CPU="true")
    command = ["accelerate", "launch", "--config_file", str(config), "harness/run.py"]
    check_launch(True, UNDER_ACCELERATE | TWO_OF_A_GROUP, [command])


@pytest.mark.parametrize("name", ["FSDP", "DEEPSPEED", "MEGATRON_LM", "PARALLELISM_CONFIG"])
def test_sharding_by_accelerate_is_refused(name: str) -> None:
    message = f"asked for --use_{name.lower()} .*--strategy fsdp or --strategy zero2"
    for word in ("true", "1"):
        with pytest.raises(HardwareError, match=message):
            check_launch(False, TWO_OF_A_GROUP | {f"ACCELERATE_USE_{name}": word}, [])
    check_launch(False, TWO_OF_A_GROUP | {f"ACCELERATE_USE_{name}": "false"}, [])


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "2"}, "RANK=2 does not fit WORLD_SIZE=2"),
        ({"RANK": "-1"}, "RANK=-1 does not fit WORLD_SIZE=2"),
        ({"WORLD_SIZE": "1"}, "RANK=1 does not fit WORLD_SIZE=1"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two is not a number"),
        ({"RANK": ""}, "WORLD_SIZE=2 is set, but not RANK"),
        ({"MASTER_ADDR": "", "LOCAL_RANK": ""}, "is set, but not LOCAL_RANK, MASTER_ADDR"),
    ],
)
def test_a_group_that_contradicts_itself_is_refused(variables: dict[str, str], message: str) -> None:
    with pytest.raises(HardwareError, match=message):
        check_launch(False, TWO_OF_A_GROUP | variables, [])


def test_processes_of_srun_that_nothing_joins_are_refused() -> None:
    batch = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}  # of a batch script: it runs once
    check_launch(False, batch, [])
    check_launch(False, batch | {"SLURM_STEP_NUM_TASKS": "1"}, [])
    step = batch | {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4"}
    with pytest.raises(HardwareError, match="srun started 4 processes that nothing will join"):
        check_launch(False, step, [])
    check_launch(False, step | TWO_OF_A_GROUP, [])  # srun started torchrun on each node
    check_launch(False, step | {"WORLD_SIZE": "1"}, [])


@pytest.mark.parametrize("size", ["PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"])
def test_processes_of_mpirun_are_joined_on_cpus_alone(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    findable = {size: "2", "MASTER_ADDR": "head"}
    check_launch(False, findable, [])
    check_launch(False, findable | {"SLURM_STEP_NUM_TASKS": "2"}, [])
    check_launch(False, findable | TWO_OF_A_GROUP, [])
    with pytest.raises(HardwareError, match="MPI started 2 processes that nothing will join"):
        check_launch(False, {size: "2"}, [])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    check_launch(True, findable, [])
    with pytest.raises(HardwareError, match="MPI started 2 processes that nothing will join"):
        check_launch(False, findable, [])


def test_processes_that_accelerate_starts_with_mpirun_count(home: Path) -> None:
    findable = {"OMPI_COMM_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    below_accelerate("--cpu --num_processes 2 --mpirun_hostfile hosts", home, **findable)


def test_a_parent_that_cannot_be_read_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(process: psutil.Process) -> list[str]:
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "cmdline", deny)
    check_launch(False, UNDER_ACCELERATE)
    monkeypatch.setattr(psutil.Process, "parent", lambda process: None)
    check_launch(False, UNDER_ACCELERATE)


SCRIPT = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from harness.errors import HardwareError
from harness.launched import check_launch
try:
    check_launch()
except HardwareError as error:
    print("error:", error, file=sys.stderr)
    sys.exit(2)
from harness.process import leave_process_group, start_process
print("went on", start_process(False).world_size)
leave_process_group()
"""


def launch(
    folder: Path, options: list[str], command: list[str] | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Really run SCRIPT, or a command, under `accelerate launch`, as on a machine without a GPU."""
    script = folder / "script.py"
    script.write_text(SCRIPT)
    return subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", *options, *(command or [str(script)])],
        cwd=folder,
        env=os.environ | {"HF_HOME": str(folder), "CUDA_VISIBLE_DEVICES": ""} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


needs_deepspeed = pytest.mark.skipif(sys.platform != "linux", reason="DeepSpeed is for Linux")
WRONG = {
    "--cpu": (["--cpu", "--num_processes", "2"], {}, "asked for 2 processes"),
    "MULTI_CPU": (["--config_file", "c.yaml"], {"distributed_type": "MULTI_CPU"}, "asked for 2 processes"),
    "FSDP": (["--config_file", "c.yaml"], {"distributed_type": "FSDP"}, "asked for --use_fsdp"),
    "DeepSpeed": (
        ["--config_file", "c.yaml"],
        {"distributed_type": "DEEPSPEED"},
        "asked for --use_deepspeed",
    ),
}


@pytest.mark.parametrize(
    "name", ["--cpu", "MULTI_CPU", "FSDP", pytest.param("DeepSpeed", marks=needs_deepspeed)]
)
def test_a_real_launch_that_starts_something_else_is_refused(tmp_path: Path, name: str) -> None:
    options, values, message = WRONG[name]
    write_config(tmp_path / "c.yaml", num_processes=2, mixed_precision='"no"', main_process_port=0, **values)
    training = [str(ROOT / "harness" / "run.py"), "--dataset", "digits", "--model", "mlp", "--epochs", "1"]
    on_cpu = "true" if name == "DeepSpeed" else "false"
    done = launch(tmp_path, options, training, ACCELERATE_USE_CPU=on_cpu)
    assert message in next(line for line in done.stderr.splitlines() if line.startswith("error: accelerate"))
    assert "exit status 2" in done.stderr or "exitcode: 2" in done.stderr
    assert done.returncode != 0
    assert not (tmp_path / "runs").exists()


def test_a_real_launch_on_configured_cpus_goes_on_together(tmp_path: Path) -> None:
    """accelerate says MULTI_GPU and forgets use_cpu, but `start_process` joins the two."""
    values = {"distributed_type": "MULTI_GPU", "use_cpu": "true"}
    write_config(tmp_path / "c.yaml", num_processes=2, mixed_precision='"no"', main_process_port=0, **values)
    done = launch(tmp_path, ["--config_file", "c.yaml"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("went on 2") == 2


def test_a_real_launch_of_one_process_goes_on(tmp_path: Path) -> None:
    done = launch(tmp_path, ["--config_file", str(ROOT / "accelerate_config.yaml")])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("went on 1") == 1
