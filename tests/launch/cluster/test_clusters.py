import pytest

from harness.errors import UsageError
from launch.cluster.options import check_cluster_options
from launch.cluster.ray_cluster import RayOptions
from launch.cluster.slurm_options import SlurmOptions
from launch.cluster.slurm_queue import elapsed_s


@pytest.mark.parametrize("executor", ["local", "slurm", "ray"])
def test_usual_options_are_for_all(executor: str) -> None:
    check_cluster_options(executor, SlurmOptions(memory_gb=8.0), RayOptions())


@pytest.mark.parametrize("executor", ["slurm", "ray"])
def test_what_a_cell_needs_is_for_every_cluster(executor: str) -> None:
    check_cluster_options(executor, SlurmOptions(gpus_per_cell=2), RayOptions(gpus_per_cell=2))


@pytest.mark.parametrize(
    ("executor", "slurm", "ray", "message"),
    [
        ("local", {"partition": "gpu"}, {}, "--partition is for --executor slurm, not for local"),
        ("local", {"gpus_per_cell": 2}, {}, "--gpus-per-cell is for --executor slurm or ray, not for local"),
        ("ray", {"time_minutes": 60}, {}, "--time-limit is for --executor slurm, not for ray"),
        ("ray", {"nodes_per_cell": 2}, {}, "--nodes-per-cell is for --executor slurm, not for ray"),
        ("slurm", {}, {"address": "auto"}, "--address is for --executor ray, not for slurm"),
        ("slrum", {}, {}, "--executor slrum: expected local, slurm or ray"),
    ],
)
def test_an_option_that_would_be_ignored_is_an_error(
    executor: str, slurm: dict[str, object], ray: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        check_cluster_options(executor, SlurmOptions(**slurm), RayOptions(**ray))  # type: ignore[arg-type]


def test_what_a_cell_needs_is_divided_among_its_nodes() -> None:
    options = SlurmOptions(partition="gpu", nodes_per_cell=2, memory_gb=5.0, sbatch=(("constraint", "a100"),))
    request = options.request(num_processes=4, use_cpu=False)
    found = {name: request[name] for name in ("partition", "time", "nodes", "cpus_per_task", "gpus_per_node")}
    assert found == {"partition": "gpu", "time": 240, "nodes": 2, "cpus_per_task": 2, "gpus_per_node": 2}
    assert request["mem"] == "5120M"
    assert request["additional_parameters"] == {"requeue": True, "signal": "USR2@90", "constraint": "a100"}


def test_cells_on_the_cpu_ask_for_no_gpu_unless_some_are_named() -> None:
    assert "gpus_per_node" not in SlurmOptions().request(2, use_cpu=True)
    assert SlurmOptions(gpus_per_cell=3).request(2, use_cpu=True)["gpus_per_node"] == 3


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("time_minutes", 0, "--time-limit in minutes 0: expected 1 or more"),
        ("nodes_per_cell", 0, "--nodes-per-cell 0: expected 1 or more"),
        ("memory_gb", -1.0, "memory_gb -1: expected 0.001 or more"),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SlurmOptions(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0:07", 7), ("3:04", 184), ("2:03:04", 7384), ("1-02:03:04", 93784), ("INVALID", 0), ("", 0)],
)
def test_times_of_slurm_are_read(text: str, seconds: float) -> None:
    assert elapsed_s(text) == seconds
