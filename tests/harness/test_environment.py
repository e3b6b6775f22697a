from __future__ import annotations

import platform
import shutil
import socket
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path

import accelerate
import pytest
import torch

from harness import environment
from harness.environment import VERDICT_VERSION, describe_environment
from harness.process import Process

ROOT = Path(__file__).parents[2]


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def source_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one file that the environment takes for its own source tree."""
    (tmp_path / "harness").mkdir()
    source = tmp_path / "harness" / "environment.py"
    source.write_text("# source\n")
    monkeypatch.setattr(environment, "__file__", str(source))
    return tmp_path


@pytest.fixture
def checkout(source_tree: Path) -> Path:
    """The source tree as a git checkout with one commit."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    git(source_tree, "init", "-q")
    git(source_tree, "add", "harness")
    git(source_tree, "commit", "-q", "-m", "first")
    return source_tree


def test_the_machine_and_the_software_are_described(one_process: Process) -> None:
    described = describe_environment(one_process)
    assert described.hostname == socket.gethostname()
    assert described.python == platform.python_version()
    assert described.torch == torch.__version__
    assert described.accelerate == accelerate.__version__
    assert (described.device_type, described.cuda, described.backend) == ("cpu", None, None)
    assert (described.num_processes, described.distributed_type) == (1, "NO")
    assert described.threads_per_process == torch.get_num_threads()
    assert described.deterministic == torch.are_deterministic_algorithms_enabled()
    assert described.device


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == VERDICT_VERSION


def test_a_gpu_is_described_by_its_name(one_process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A100")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    process = replace(
        one_process,
        device=torch.device("cuda", 0),
        world_size=4,
        distributed_type="MULTI_GPU",
        backend="nccl",
    )
    described = describe_environment(process)
    assert (described.device, described.device_type, described.cuda) == ("NVIDIA A100", "cuda", "12.8")
    assert (described.num_processes, described.backend) == (4, "nccl")


def test_the_commit_is_named_and_changed_files_are_marked(checkout: Path, one_process: Process) -> None:
    commit = git(checkout, "rev-parse", "--short=12", "HEAD")
    (checkout / "runs").mkdir()
    (checkout / "runs" / "record.json").write_text("{}")  # not part of the source
    assert describe_environment(one_process).git_commit == commit
    (checkout / "harness" / "environment.py").write_text("# changed\n")
    assert describe_environment(one_process).git_commit == f"{commit}+"


def test_an_installed_copy_has_no_commit_even_inside_another_checkout(
    checkout: Path, one_process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = checkout / "site-packages" / "harness" / "environment.py"
    installed.parent.mkdir(parents=True)
    monkeypatch.setattr(environment, "__file__", str(installed))
    assert describe_environment(one_process).git_commit is None


def test_without_git_there_is_no_commit(
    checkout: Path, one_process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    assert describe_environment(one_process).git_commit is None
