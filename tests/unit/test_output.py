"""The table of a benchmark is Markdown, and has each earlier figure beside the new one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from starcoder_lsp.cli import CommandError
from starcoder_lsp.cli.bench.output import Output, markdown

cells = st.text(alphabet="ab1|漢 é", min_size=1, max_size=5).map(str.strip)


def table_of(rows: list[list[str]], caption: str = "a caption") -> Table:
    table = Table(title="a title", caption=caption)
    table.add_column("edits")
    for n in range(max(len(row) for row in rows) - 1):
        table.add_column(f"column {n}", justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def parsed(text: str) -> list[list[str]]:
    lines = [line.replace("\\|", "\0") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip().replace("\0", "|") for cell in line.split("|")[1:-1]] for line in lines]


@given(st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=4))
def test_cells_survive_the_conversion_to_markdown(rows: list[list[str]]) -> None:
    shown = markdown(table_of(rows))
    header, rule, *body = parsed(shown)
    assert header == ["edits", "column 0", "column 1"]
    assert [cell.strip("-") for cell in rule] == ["", ":", ":"]
    assert body == rows
    assert shown.startswith("a title\n\n|")
    assert shown.endswith("|\n\na caption")


def test_the_earlier_figure_stands_beside_the_new_one() -> None:
    now = table_of([["all", "1", "2"], ["new", "3", "4"]])
    before = table_of([["all", "1", "5"], ["old", "6", "7"]], "another")
    assert parsed(markdown(now, before))[2:] == [["all", "1", "2 (was 5)"], ["new", "3", "4"]]
    assert markdown(now, before).endswith("before: another")


@pytest.mark.parametrize("old", [{}, {"rows": 3}, {"rows": []}, {"rows": [[None, "1"], None]}])
def test_a_saved_report_of_another_version_is_refused_behind_the_new_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: dict[str, object]
) -> None:
    saved = tmp_path / "saved.json"
    saved.write_text(json.dumps({"bench": "replay", **old}))
    output = Output.of("replay", as_json=False, against=saved)
    with pytest.raises(CommandError, match="of another version of this program"):
        output.write({"rows": [["all", "1"]]}, lambda report: table_of(report["rows"]))
    assert parsed(capsys.readouterr().out)[2:] == [["all", "1"]]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"bench": "compare"}', "\0"])
def test_a_file_that_is_no_saved_report_is_refused(tmp_path: Path, content: str) -> None:
    saved = tmp_path / "saved.json"
    saved.write_text(content)
    with pytest.raises(CommandError, match="no saved report"):
        Output.of("replay", as_json=False, against=saved)


def test_a_saved_report_is_read_unchanged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = tmp_path / "saved.json"
    report = {"rows": [["all", "1"]]}
    Output.of("replay", as_json=True, save=saved).write(report, lambda each: table_of(each["rows"]))
    assert json.loads(capsys.readouterr().out) == {"bench": "replay", **report}
    Output.of("replay", as_json=True, against=saved).write({"rows": []}, lambda each: table_of(each["rows"]))
    assert json.loads(capsys.readouterr().out)["against"] == {"bench": "replay", **report}
