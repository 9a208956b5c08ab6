"""The command `starcoder-lsp bench context`, on two small packages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ENVIRONMENT

SHAPES = "import math\n\n\n" + "".join(
    f"class Shape{n}:\n    def area(self, scale):\n        return math.pi * scale * {n}\n\n\n" for n in range(40)
)
MAIN = "from shapes import Shape1, Shape2\n\n\n" + "".join(
    f"def total_{n}(scale):\n    first = Shape1().area(scale)\n    return first + Shape2().area(scale) * {n}\n\n\n"
    for n in range(40)
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "starcoder_lsp", "bench", "context", *arguments]
    return subprocess.run(program, capture_output=True, text=True, check=False, env=ENVIRONMENT, timeout=300)  # noqa: S603


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "drawing"
    folder.mkdir()
    (folder / "shapes.py").write_text(SHAPES)
    (folder / "main.py").write_text(MAIN)
    (folder / "notes.txt").write_text("no source file\n" * 300)
    (folder / "broken.py").write_bytes(b"\xff\xfe\x00" * 1000)
    return folder


def test_all_kinds_of_windows_fill_the_same_holes(package: Path) -> None:
    ran = run(str(package), "--holes", "6", "--tokens", "256", "--json")
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert set(report["kinds"]) == {"in the file", "across files"}
    for modes in report["kinds"].values():
        assert set(modes) == {"lines", "syntax", "files"}
        assert {row["holes"] for row in modes.values()} == {3}
        for row in modes.values():
            assert 0 <= row["exact"] <= 1
            assert row["logProbabilityPerCharacter"] < 0
            assert row["windowMsP50"] <= row["windowMsP95"]
    across = report["kinds"]["across files"]
    assert across["files"]["promptTokensMean"] > across["syntax"]["promptTokensMean"]
    assert across["lines"]["gainNatsPerHole"] == 0


def test_the_report_is_a_table(package: Path) -> None:
    ran = run(str(package), "--holes", "2", "--tokens", "128")
    assert ran.returncode == 0, ran.stderr
    assert "(c) with other files" in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["no-such-folder"], "is not a folder"),
        (["EMPTY"], "no source files"),
        (["EMPTY", "--holes", "0"], "at least one hole"),
        (["EMPTY", "--model", "no-such-file.gguf"], "no source files"),
    ],
)
def test_an_error_is_one_line(tmp_path: Path, arguments: list[str], wanted: str) -> None:
    ran = run(*(str(tmp_path) if argument == "EMPTY" else argument for argument in arguments))
    assert ran.returncode == 2
    assert wanted in ran.stderr
    assert ran.stderr.count("\n") == 1
