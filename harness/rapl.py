"""The energy of the processors as RAPL counts it, through the powercap files of Linux. No torch here.

    /sys/class/powercap/intel-rapl:0/name      package-0    counted
                        intel-rapl:0:0/name    core         a part of package-0: not counted again
                        intel-rapl:1/name      psys         the platform around the packages: not counted
                        intel-rapl-mmio:0/     package-0    the same package over another bus: not counted

AMD's processors are found under the same names. Since 2020 kernels let only root read the counters, which
can betray what a processor computes (CVE-2020-8694); many virtual machines have none.
"""

from __future__ import annotations

import re
from pathlib import Path

from harness.usage import Missing

POWERCAP = Path("/sys/class/powercap")
_DOMAIN = re.compile(r"intel-rapl:\d+")
_JOULES_PER_COUNT = 1e-6


class Rapl:
    """The counters of all processor packages of this machine, added up."""

    def __init__(self, root: Path = POWERCAP) -> None:
        self._packages: list[Path] = []
        self._problem: Missing | None = None
        try:
            folders = [path for path in root.iterdir() if _DOMAIN.fullmatch(path.name)]
            self._packages = [path for path in folders if _word(path / "name").startswith("package")]
        except FileNotFoundError:
            pass
        except OSError as error:
            self._problem = _unreadable(error)
        if not self._packages and self._problem is None:
            self._problem = Missing(f"no RAPL: there is no processor package in {root}")
        self._last_uj: dict[Path, int] = {}
        self._total_uj = 0

    def read_j(self) -> float | Missing:
        """Joules of all packages since the first reading."""
        if self._problem is not None:
            return self._problem
        try:
            now_uj = {package: int(_word(package / "energy_uj")) for package in self._packages}
            steps_uj = [self._step_uj(package, count_uj) for package, count_uj in now_uj.items()]
        except OSError as error:
            return _unreadable(error)
        except ValueError as error:
            return Missing(f"RAPL: {error}")
        self._total_uj += sum(steps_uj)
        self._last_uj = now_uj
        return self._total_uj * _JOULES_PER_COUNT

    def _step_uj(self, package: Path, count_uj: int) -> int:
        last_uj = self._last_uj.get(package, count_uj)
        if count_uj >= last_uj:
            return count_uj - last_uj
        # it starts at 0 again after its largest value, some minutes of full load at the earliest
        return count_uj - last_uj + int(_word(package / "max_energy_range_uj"))


def _word(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()


def _unreadable(error: OSError) -> Missing:
    if isinstance(error, PermissionError):
        return Missing(f"RAPL: {error.filename} may not be read by this user")
    return Missing(f"RAPL: {error}")
