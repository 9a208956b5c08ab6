"""The programs in `bench/` can be imported. No other test would notice that a name they use was renamed."""

from __future__ import annotations

import runpy
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


@pytest.mark.parametrize("path", [*PROGRAMS, *MODULES], ids=lambda path: path.name)
def test_a_bench_can_be_imported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(path.parent)
    names = runpy.run_path(str(path), run_name="imported")
    assert path in MODULES or "main" in names
