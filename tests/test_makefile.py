"""`make demo` with an interpreter that only pretends: nothing is installed and nothing trained."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

TOO_OLD = '#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.8.18"; [ "$1" = -V ]\n'

# Says yes to every question; `-m venv` makes an environment whose tools write down their arguments.
NEW_ENOUGH = """#!/bin/sh
echo "$(basename "$0") $*" | grep -v -e ' -c ' -e ' -V' >> calls
[ "$2" = pip ] && exit "${PIP_EXIT_CODE:-0}"
if [ "$2" = venv ]; then
    rm -rf .venv
    mkdir -p .venv/bin
    cp "$0" .venv/bin/python
fi
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what `make demo` reads, and in `bin` the only programs that it can find."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    for name in ("basename", "cp", "grep", "mkdir", "rm", "touch"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or "")
    return tmp_path


def add_program(checkout: Path, name: str, script: str) -> None:
    (checkout / "bin" / name).write_text(script)
    (checkout / "bin" / name).chmod(0o755)


def make_demo(checkout: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    make = shutil.which("make")
    assert make is not None
    return subprocess.run(
        [make, "demo"],
        cwd=checkout,
        env={"PATH": str(checkout / "bin"), **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


def refusal(checkout: Path, **variables: str) -> str:
    """The one line that `make demo` is refused with."""
    done = make_demo(checkout, **variables)
    assert done.returncode != 0
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert not (checkout / ".venv").exists()
    return done.stderr


def calls(checkout: Path) -> list[str]:
    return (checkout / "calls").read_text().splitlines()


def test_a_python_that_is_too_old_is_refused_in_one_line(checkout: Path) -> None:
    add_program(checkout, "python3", TOO_OLD)
    line = refusal(checkout)
    assert "needs Python 3.11.4 or newer; python3 is Python 3.8.18; install one" in line
    assert "PYTHON=/path/to/python3.12 make demo" in line


def test_no_python_at_all_is_refused_in_one_line(checkout: Path) -> None:
    assert "needs Python 3.11.4 or newer; there is no python3; install one" in refusal(checkout)


def test_a_python_that_the_user_chose_is_not_replaced_by_another(checkout: Path) -> None:
    add_program(checkout, "python3", NEW_ENOUGH)
    add_program(checkout, "oldpython", TOO_OLD)
    assert "oldpython is Python 3.8.18" in refusal(checkout, PYTHON="oldpython")


def test_a_python_without_venv_is_refused_in_one_line(checkout: Path) -> None:
    add_program(checkout, "python3", '#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\n')
    line = refusal(checkout)
    assert "python3 cannot make virtual environments: install its venv package" in line


def test_a_newer_python_on_the_path_is_taken_where_python3_is_too_old(checkout: Path) -> None:
    add_program(checkout, "python3", TOO_OLD)
    add_program(checkout, "python3.12", NEW_ENOUGH)
    done = make_demo(checkout)
    assert done.returncode == 0, done.stderr
    assert calls(checkout)[0] == "python3.12 -m venv --clear .venv"
    assert calls(checkout)[-1] == "python -m launch run demo"


def test_packages_are_installed_once_and_again_when_the_pins_change(checkout: Path) -> None:
    add_program(checkout, "python3", NEW_ENOUGH)
    assert make_demo(checkout).returncode == 0
    first = calls(checkout)
    assert [call.split()[:3] for call in first] == [
        ["python3", "-m", "venv"],
        ["python", "-m", "pip"],
        ["python", "-m", "launch"],
    ]
    assert "--constraint constraints.txt --editable ." in first[1]

    assert make_demo(checkout).returncode == 0
    assert calls(checkout) == [*first, first[2]]

    later = (checkout / ".venv" / "installed").stat().st_mtime + 10
    os.utime(checkout / "constraints.txt", (later, later))
    assert make_demo(checkout).returncode == 0
    assert calls(checkout) == [*first, first[2], *first[1:]]


def test_an_installation_that_failed_is_tried_again(checkout: Path) -> None:
    add_program(checkout, "python3", NEW_ENOUGH)
    assert make_demo(checkout, PIP_EXIT_CODE="1").returncode != 0
    assert make_demo(checkout).returncode == 0
    assert [call.split()[2] for call in calls(checkout)] == ["venv", "pip", "pip", "launch"]


def test_an_environment_that_does_not_work_is_made_anew(checkout: Path) -> None:
    add_program(checkout, "python3", NEW_ENOUGH)
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to("/no/such/python")
    assert make_demo(checkout).returncode == 0
    assert calls(checkout)[0] == "python3 -m venv --clear .venv"
