"""The programs in `bench/` can be imported, and the package for a GPU machine has what they need there.

No other test would notice that a name they use was renamed, or that a dependency is missing.
"""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
PROGRAMS = sorted([*BENCH.glob("*.py"), BENCH / "gpu" / "run.py"])
MODULES = [
    BENCH / "judges.py",
    BENCH / "recorded_drafts.py",
    BENCH / "trace_windows.py",
    *sorted(path for path in (BENCH / "gpu").glob("*.py") if path.name != "run.py"),
]


NOT_PACKED = {"llama-cpp-python", "numpy", "httpx2", "tomlkit"}
"""Dependencies that come otherwise, or that no program of `bench/gpu` uses."""


@pytest.mark.parametrize("path", [*PROGRAMS, *MODULES], ids=lambda path: path.name)
def test_a_bench_can_be_imported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(path.parent)
    names = runpy.run_path(str(path), run_name="imported")
    assert path in MODULES or "main" in names


def test_the_package_for_a_gpu_machine_has_every_dependency() -> None:
    project = tomllib.loads((BENCH.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {re.split(r"[^\w-]", requirement)[0] for requirement in project["dependencies"]} - NOT_PACKED
    _, _, listed = (BENCH / "gpu" / "build.sh").read_text(encoding="utf-8").partition("--platform manylinux2014_x86_64")
    packed = set(listed.partition("\ncp ")[0].replace("\\", " ").split())
    assert needed <= packed
