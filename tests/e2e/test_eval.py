"""The command `starcoder-lsp eval`, on a small repository."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from starcoder_lsp import cli
from starcoder_lsp.engine.loading import DEMONSTRATOR

from .test_cli import assert_refused, run

CODE = "def area_{n}(scale):\n    if scale > {n}:\n        return scale * {n}\n    return draw([scale], {n})\n\n\n"
KINDS = ["all", "rest of line", "mid-word", "inside line", "block"]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "drawing"
    folder.mkdir()
    (folder / "area.py").write_text("".join(CODE.format(n=n) for n in range(20)))
    (folder / "area.pl").write_text('sub area {\n    my ($scale) = @_;\n    return "é" . draw($scale, 2);\n}\n')
    return folder


def test_eval_reports_json(repository: Path) -> None:
    ran = run("eval", str(repository), "--holes", "12", "--json", "--set", "context.maxTokens=256")
    assert (ran.returncode, ran.stderr) == (0, b"")
    report = json.loads(ran.stdout)
    assert set(report) == {"paths", "seed", "machine", "ways"}
    (way,) = report["ways"]
    assert way["name"] == "context.maxTokens=256"
    assert way["model"]["bytes"] == DEMONSTRATOR.stat().st_size
    assert [(kind, row["holes"]) for kind, row in way["kinds"].items()] == list(
        zip(KINDS, (12, 3, 3, 3, 3), strict=True)
    )
    for row in way["kinds"].values():
        for share in ("exact", "similarity", "withheld", "addsNoError", "parsesAsBefore", "repeatsNextLine"):
            assert 0 <= row[share] <= 1
        assert 0 < row["latencyMsP50"] <= row["latencyMsP95"]
        assert 0 < row["postprocessMsP95"] < row["latencyMsP95"]
        assert 0 < row["generatedTokensMean"] < row["promptTokensMean"] < 300


def test_eval_compares_with_another_setting(repository: Path) -> None:
    ran = run("eval", str(repository), "--holes", "12", "--json", "--against", "enabled=false")
    report = json.loads(ran.stdout)
    first, second = report["ways"]
    assert (first["name"], second["name"]) == ("as configured", "enabled=false")
    for kind in KINDS:
        one, two, more = first["kinds"][kind], second["kinds"][kind], second["difference"][kind]
        assert (two["withheld"], two["exact"], two["addsNoError"]) == (1, 0, None)
        for figure in ("exact", "similarity"):
            assert more[figure] == pytest.approx(two[figure] - one[figure], abs=1e-3)
        assert (more["exactStandardError"] == 0) == (one["exact"] in (0, 1))


def test_eval_prints_a_comparison_with_another_model_and_settings(repository: Path) -> None:
    other = repository.parent / "other.gguf"
    other.symlink_to(DEMONSTRATOR)
    against = ("--against", str(other), "--against", "completion.multiline=auto", "--against", "completion.seed=3")
    ran = run("eval", str(repository / "area.py"), "--holes", "8", "--seed", "5", *against, COLUMNS="40")
    assert (ran.returncode, ran.stderr) == (0, b"")
    rows = [[cell.strip() for cell in re.split("[│┃]", line)[1:]] for line in ran.stdout.decode().splitlines()]
    rows = [row for row in rows if len(row) > 5]
    second = "other.gguf completion.multiline=auto completion.seed=3"
    for kind in KINDS:
        one, two = (row for row in rows if row[0] == kind)
        assert [one[1], two[1]] == ["as configured", second]
        assert one[2:8] == two[2:8]
    differences = [row[3:5] for row in rows if row[1] == "the second more"]
    assert differences == [["+0.0%", "+0.0%"]] * 5
    assert ran.stdout.decode().count("± 0.0%") == 10


def test_eval_writes_a_page_with_a_plot_of_several_models(repository: Path) -> None:
    others = [repository.parent / name for name in ("<b>.gguf", "c.gguf")]
    for other in others:
        other.symlink_to(DEMONSTRATOR)
    against = [argument for other in others for argument in ("--against", str(other))]
    ran = run("eval", str(repository / "area.py"), "--holes", "6", "--html", *against, PYTHONIOENCODING="latin-1")
    assert (ran.returncode, ran.stderr) == (0, b"")
    page = ran.stdout.decode()
    assert page.startswith("<!DOCTYPE html>")
    plot = ET.fromstring(page[page.index("<svg") : page.index("</svg>") + len("</svg>")])  # noqa: S314  our own
    titles = [title.text for title in plot.iter("title")]
    assert [str(title).partition(":")[0] for title in titles] == ["as configured", "<b>.gguf", "c.gguf"]
    heights = {circle.get("cy") for circle in plot.iter("circle")}
    assert len(heights) == 1, "the same model thrice has the same share of exact matches"
    for circle in plot.iter("circle"):
        assert 64 <= float(circle.get("cx", 0)) <= 720 - 64
        assert 64 <= float(circle.get("cy", 0)) <= 420 - 64
    assert page.count("<tr>") == 4
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["PATH"]),
        (["no-such-file"], ["no-such-file", "No such file"]),
        (["EMPTY"], ["nothing to hide"]),
        (["CODE", "--holes", "0"], ["at least one hole"]),
        (["CODE", "--model", "no.gguf"], ["no model file no.gguf"]),
        (["CODE", "--against", "no.gguf"], ["no model file no.gguf"]),
        (["CODE", "--against", "DEMONSTRATOR", "--against", "b.gguf"], ["no model file b.gguf"]),
        (["CODE", "--against", "starcoder2-7b"], ["models pull starcoder2-7b"]),
        (
            ["CODE", "--set", "completion.multilin=x"],
            ["unknown setting", "did you mean starcoder.completion.multiline"],
        ),
        (["CODE", "--set", "completion.multiline=x"], ['"never"', 'got "x"']),
        (["CODE", "--against", "completion.maxTokens=many"], ["a whole number from 1 to 1024"]),
        (["CODE", "--against", "completion=3"], ["expected a group of settings"]),
        (["CODE", "--set", "enabled"], ["expected true or false"]),
        (["CODE", "--set", "=" + "[" * 100_000], ["unknown setting"]),
    ],
)
def test_an_error_is_one_line(
    repository: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]
) -> None:
    places = {"CODE": str(repository), "DEMONSTRATOR": str(DEMONSTRATOR), "EMPTY": str(repository / "empty")}
    (repository / "empty").mkdir()
    assert cli.main(["eval", *(places.get(argument, argument) for argument in arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert all(word in line for word in words), line
    assert "ignored" not in line
    assert "; using" not in line


def test_a_broken_model_is_reported_before_the_first_request(repository: Path) -> None:
    broken = repository / "broken.gguf"
    broken.write_bytes(DEMONSTRATOR.read_bytes()[:500_000])
    assert_refused(run("eval", str(repository), "--against", str(broken)), "broken.gguf", "cut off")
