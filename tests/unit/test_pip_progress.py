"""The progress that `make` shows while pip and the compiler work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "build-support" / "pip_progress.py"

PIPS_OUTPUT = """
print("Collecting attrs>=25.1 (from starcoder-lsp==0.1.0)")
print("  Building wheel for llama-cpp-python (pyproject.toml): started")
for step in range(1, 84):
    print(f"  [{step}/83] /usr/bin/c++ -O3 -c {step}.cpp")
    if step == 70:
        print("  a.cpp:1:1: error: this is not C++")
print("  Building wheel for llama-cpp-python (pyproject.toml): finished with status 'done'")
raise SystemExit(EXIT_CODE)
"""


def watch(tmp_path: Path, exit_code: int) -> subprocess.CompletedProcess[str]:
    pip = [sys.executable, "-c", PIPS_OUTPUT.replace("EXIT_CODE", str(exit_code))]
    command = [sys.executable, PROGRAM, tmp_path / "log", *pip]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603


def test_a_log_has_a_line_for_each_tenth_of_the_compilation(tmp_path: Path) -> None:
    ran = watch(tmp_path, exit_code=0)
    assert ran.returncode == 0
    lines = ran.stdout.rstrip().split("\n")
    assert "building llama-cpp-python" in lines[0]
    assert "building llama-cpp-python: 83 of 83" in lines[-1]
    assert len(lines) == 12
    assert "-c 42.cpp" in (tmp_path / "log").read_text()


def test_a_failed_build_shows_the_compilers_output(tmp_path: Path) -> None:
    ran = watch(tmp_path, exit_code=3)
    assert ran.returncode == 3
    assert "a.cpp:1:1: error: this is not C++" in ran.stdout
    assert str(tmp_path / "log") in ran.stdout
