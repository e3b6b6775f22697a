"""Two machines that train one cell: two network namespaces, joined by a pair of virtual cables.

They have addresses of their own and no loopback in common, and the cable can be pulled. Needs root and
iproute2; skipped elsewhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.test_lost_processes import wait_for_step
from tests.harness.test_resume import CELL, OFTEN, SCRIPT, finish, start

ADDRESSES = ("10.213.77.1", "10.213.77.2")
PORT = "29577"
TIMEOUT_S = 15
LOOPBACK = [
    sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", SCRIPT, *CELL,
]  # fmt: skip


@dataclass(frozen=True)
class Node:
    """One end of the cable."""

    namespace: str
    interface: str
    rank: int

    def start(self, folder: Path) -> subprocess.Popen[str]:
        """Start this node's part of the training."""
        command = [
            "ip", "netns", "exec", self.namespace, sys.executable, "-m", "accelerate.commands.launch",
            "--multi_gpu", "--num_machines=2", "--num_processes=2", f"--machine_rank={self.rank}",
            f"--main_process_ip={ADDRESSES[0]}", f"--main_process_port={PORT}", "--mixed_precision=no",
            "--dynamo_backend=no", SCRIPT, *CELL, *OFTEN, f"--timeout={TIMEOUT_S}",
        ]  # fmt: skip
        return start(command, folder, GLOO_SOCKET_IFNAME=self.interface)

    def plug(self, state: str) -> None:
        """Put the cable in (`up`) or out (`down`)."""
        ip("-n", self.namespace, "link", "set", self.interface, state)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def nodes() -> Iterator[tuple[Node, Node]]:
    """Two namespaces with a cable between them."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and iproute2 to make network namespaces")
    tag = f"{os.getpid() % 100000}"
    made = Node(f"verdict{tag}n0", f"vd{tag}e0", 0), Node(f"verdict{tag}n1", f"vd{tag}e1", 1)
    try:
        for node in made:
            ip("netns", "add", node.namespace)
        ip("link", "add", made[0].interface, "type", "veth", "peer", "name", made[1].interface)
        for node, address in zip(made, ADDRESSES, strict=True):
            ip("link", "set", node.interface, "netns", node.namespace)
            ip("-n", node.namespace, "addr", "add", f"{address}/24", "dev", node.interface)
            ip("-n", node.namespace, "link", "set", "lo", "up")
            node.plug("up")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"cannot make network namespaces here: {error.stderr.decode()}")
    yield made
    for node in made:
        subprocess.run(["ip", "netns", "del", node.namespace], check=False, capture_output=True)


def run_both(nodes: tuple[Node, Node], folder: Path) -> list[str]:
    """Train to the end on both; what each printed."""
    children = [node.start(folder) for node in nodes]
    outputs = [child.communicate(timeout=200)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0], "\n".join(outputs)
    return outputs


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_nodes_train_as_two_processes_of_one_do(tmp_path: Path, nodes: tuple[Node, Node]) -> None:
    _, expected = finish(LOOPBACK, tmp_path / "one")
    (tmp_path / "two").mkdir()
    outputs = run_both(nodes, tmp_path / "two")
    assert "2 process(es)" in outputs[0]
    record, found = finish(LOOPBACK, tmp_path / "two")  # only reads what is there
    assert found == expected
    assert record.environment is not None
    assert record.environment.num_processes == 2


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cable_that_is_pulled_ends_both_and_training_goes_on_when_it_is_back(
    tmp_path: Path, nodes: tuple[Node, Node]
) -> None:
    _, expected = finish(LOOPBACK, tmp_path / "one")
    folder = tmp_path / "two"
    folder.mkdir()
    children = [node.start(folder) for node in nodes]
    assert wait_for_step(children[0], folder, 0), children[0].communicate()[0]
    nodes[1].plug("down")
    outputs = [child.communicate(timeout=6 * TIMEOUT_S)[0] for child in children]
    assert all(child.returncode != 0 for child in children)
    assert "error: no answer from process 1" in outputs[0], outputs[0]
    assert "error: " in outputs[1]
    assert "is gone" in outputs[1], outputs[1]
    nodes[1].plug("up")
    run_both(nodes, folder)
    record, found = finish(LOOPBACK, folder)
    assert record.measurements is not None
    assert record.measurements.num_resumes >= 1
    assert found == expected
