"""A real Slurm of two nodes on this machine: munged, slurmctld and two slurmd, without systemd."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from launch.local import START

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")

CONF = """
ClusterName=verdict
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SwitchType=switch/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=bf_interval=1,batch_sched_delay=0,sched_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
ReturnToService=2
KillWait=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cpus} RealMemory=4000
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs={cpus} RealMemory=4000
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 GraceTime=60 State=UP
PartitionName=urgent Nodes=ALL PriorityTier=2 State=UP
"""


def missing() -> str | None:
    """Why there can be no cluster here; None: there can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if absent:
        return f"needs Slurm ({', '.join(absent)} not found: apt-get install slurm-wlm munge)"
    return None if os.geteuid() == 0 else "starts slurmd, which needs root"


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Run the cluster during the block; what its users need in their environment."""
    for name in ("state", "spool-node1", "spool-node2"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    conf = folder / "slurm.conf"
    host = socket.gethostname().partition(".")[0]
    conf.write_text(CONF.format(folder=folder, host=host, ports=_free_ports(3), cpus=os.cpu_count()))
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    environment = {"SLURM_CONF": str(conf), "PATH": _path()}
    munged = ["munged", "--foreground", "--force", "--num-threads=2"]
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
    munged += [f"--{option}={folder / f'munge.{name}'}" for option, name in files.items()]
    with ExitStack() as stack:
        stack.enter_context(_daemon(munged, environment, folder))
        _wait_for(["munge", "-n", "-S", str(folder / "munge.socket")], environment)
        stack.enter_context(_daemon(["slurmctld", "-D", "-i"], environment, folder))
        for name in ("node1", "node2"):
            stack.enter_context(_daemon(["slurmd", "-D", "-N", name], environment, folder))
        _wait_for(["sh", "-c", "test $(sinfo -h -p main -t idle -o %D) = 2"], environment)
        yield environment


@contextmanager
def _daemon(words: list[str], environment: dict[str, str], folder: Path) -> Iterator[None]:
    with (folder / f"{words[0]}{words[-1][-1]}.out").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(START), "--", *words],  # it dies with the tests
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(words: list[str], environment: dict[str, str]) -> None:
    until = time.monotonic() + 60
    while True:
        answer = subprocess.run(words, env=os.environ | environment, capture_output=True, text=True)
        if answer.returncode == 0:
            return
        assert time.monotonic() < until, f"{words}: {answer.stdout}{answer.stderr}"
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _path() -> str:
    """Debian keeps daemons where users do not look."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
