"""Statistics of a real server: the report has the accepted suggestions, and a private window is not recorded."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import CODE, CURSOR, ENVIRONMENT, SERVER, SETTINGS, TIMEOUT_S, URI, Start, Wire, notification

GHOST_TEXT = {"textDocument": {"inlineCompletion": {}}}
NAMED = ["-c", "user.name=A", "-c", "user.email=a@b"]
TOTAL = "def total(values):\n    result = 0\n    for value in values:\n        result += value\n    return "
PRIVATE = {**GHOST_TEXT, "experimental": {"starcoder": {"private": True}}}


def stats(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    env = {**ENVIRONMENT, "XDG_DATA_HOME": str(folder), **env}
    command = [*SERVER, "stats", *arguments]
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False, timeout=500)  # noqa: S603


def figures(folder: Path) -> dict[str, Any]:
    ran = stats(folder, "--json")
    assert ran.returncode == 0, ran.stderr
    return {each["name"]: each for one in json.loads(ran.stdout)["questions"] for each in one["figures"]}


def accept(served: Wire, uri: str = URI, code: str = CODE, cursor: tuple[int, int] = CURSOR) -> str:
    """Request a suggestion, report that it was shown and accepted, insert it, and return its text."""
    served.model_is_loaded()
    served.open(uri, code)
    place = {"line": cursor[0], "character": cursor[1]}
    params = {"textDocument": {"uri": uri}, "position": place, "context": {"triggerKind": 1}}
    item = served.call("ask", "textDocument/inlineCompletion", params)["result"]["items"][0]
    served.send(notification("textDocument/didShowCompletion", {"item": item}))
    change = {"range": {"start": place, "end": place}, "text": item["insertText"]}
    document = {"uri": uri, "version": 2}
    served.send(notification("textDocument/didChange", {"textDocument": document, "contentChanges": [change]}))
    served.call("accepted", "workspace/executeCommand", item["command"])
    return item["insertText"]


def stop(served: Wire) -> None:
    """Shut down, and wait for the end even on a busy machine."""
    served.call("the last one", "shutdown")
    served.send(notification("exit"))
    assert served.exit_code(TIMEOUT_S) == 0


def test_an_accepted_suggestion_is_in_the_report_and_on_the_page(wire: Start, tmp_path: Path) -> None:
    served = wire(env={"XDG_DATA_HOME": str(tmp_path)})
    served.start(SETTINGS, GHOST_TEXT)
    text = accept(served)
    stop(served)
    found = figures(tmp_path)
    assert (found["accepted of shown"]["value"], found["accepted of shown"]["n"]) == (1.0, 1)
    assert found["characters accepted at a time"]["value"] == len(text)
    assert found["accepted characters of all"]["value"] == 1.0
    again = wire(env={"XDG_DATA_HOME": str(tmp_path)})
    again.start(SETTINGS, GHOST_TEXT)
    page = again.call("page", "workspace/executeCommand", {"command": "starcoder.showStats"})["result"]["html"]
    assert "100.0%" in page
    assert "<script" not in page


@pytest.mark.parametrize(
    ("settings", "capabilities"),
    [({**SETTINGS, "stats": {"enabled": False}}, GHOST_TEXT), (SETTINGS, PRIVATE)],
    ids=["turned off", "a private window"],
)
def test_nothing_is_recorded_if_turned_off_or_private(
    wire: Start, tmp_path: Path, settings: object, capabilities: object
) -> None:
    served = wire(env={"XDG_DATA_HOME": str(tmp_path)})
    served.start(settings, capabilities)
    accept(served)
    stop(served)
    assert list(tmp_path.iterdir()) == []


def test_totals_are_exported_and_merged(tmp_path: Path) -> None:
    file = tmp_path / "me.json"
    file.write_text(stats(tmp_path, "export").stdout)
    merged = stats(tmp_path, "merge", str(file), str(file), "--json")
    assert json.loads(merged.stdout)["persons"] == 2


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a record, and a repository with a commit that has the accepted text."""
    folder = tmp_path_factory.mktemp("marks")
    file = folder / "repository" / "example.py"
    file.parent.mkdir()
    served = Wire(env={"XDG_DATA_HOME": str(folder)})
    served.start({**SETTINGS, "completion": {"maxTokens": 24, "multiline": "never"}}, GHOST_TEXT)
    text = accept(served, file.as_uri(), TOTAL + "\n", (4, 11))
    stop(served)
    assert len(text.strip()) >= 4, "too short to be found in a commit"
    file.write_text(f"{TOTAL}{text}\n")
    for command in (["init", "-q"], ["add", "."], [*NAMED, "commit", "-q", "-m", "assisted"]):
        subprocess.run(["git", "-C", str(file.parent), *command], check=True)  # noqa: S603, S607  our own
    return folder


@pytest.mark.parametrize(
    ("marks", "n", "value"),
    [([], 0, None), (["pass"], 1, 1.0), (["fail"], 1, 0.0), (["fail", "pass"], 1, 0.0), (["pass", "fail"], 1, 1.0)],
    ids=["none", "pass", "fail", "fail then pass", "pass then fail"],
)
def test_the_first_mark_of_an_assisted_commit_counts(
    committed: Path, tmp_path: Path, marks: list[str], n: int, value: float | None
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(committed, folder)
    at = str(committed / "repository")  # the record has the path of the first folder
    for verdict in marks:
        ran = stats(folder, "mark", "tests", verdict, "--repository", at)
        assert (ran.returncode, ran.stderr) == (0, "")
    report = json.loads(stats(folder, "--json", "--repository", at).stdout)
    found = {each["name"]: each for one in report["questions"] for each in one["figures"]}
    tests = found["tests pass before a correction"]
    assert (tests["n"], tests["value"]) == (n, value)
    assert "1 commits hold accepted text" in report["notes"]
    assert ("1 of them have a mark of tests (starcoder-lsp stats mark)" in report["notes"]) == bool(n)


def test_a_mark_with_changed_files_does_not_count(committed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(committed, folder)
    at = committed / "repository"
    before = (at / "example.py").read_text()
    (at / "example.py").write_text(before + "# corrected\n")
    ran = stats(folder, "mark", "tests", "pass", "--repository", str(at))
    (at / "example.py").write_text(before)
    assert ran.returncode == 0
    assert "does not count" in ran.stderr
    report = json.loads(stats(folder, "--json", "--repository", str(at)).stdout)
    assert not any("have a mark" in note for note in report["notes"])


def test_all_forms_of_the_report_have_the_same_figures(committed: Path) -> None:
    """A table, a page, JSON, CSV and splits; a comparison of one answer says that there is not enough data."""
    at = ("--repository", str(committed / "repository"))
    table = stats(committed, *at).stdout
    assert "Does it help?" in table
    assert "100.0%" in table
    rows = {row["figure"]: row for row in csv.DictReader(stats(committed, "--csv", *at).stdout.splitlines())}
    assert (float(rows["accepted of shown"]["value"]), int(rows["accepted of shown"]["n"])) == (1.0, 1)
    page = stats(committed, "--html", *at).stdout
    assert "<svg" in page
    assert "<script" not in page
    assert "100.0%" in page
    for dimension, value in (("language", "python"), ("kind", "rest of line")):
        assert value in stats(committed, "--by", dimension, *at).stdout
    assert "not enough data" in stats(committed, "--compare", "python", "rest of line", *at).stdout
    tomorrow = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
    since = json.loads(stats(committed, "--json", "--since", tomorrow, *at).stdout)
    assert all(figure["n"] == 0 for each in since["questions"] for figure in each["figures"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--since", "yesterday"], "expected a day such as"),
        (["--compare", "python", "rust"], "nothing is recorded for that"),
        (["merge", "none.json"], "No such file"),
        (["mark", "tests", "pass", "--repository", "."], "not a git repository"),
        (["--by", "mood"], "invalid choice"),
    ],
)
def test_bad_input_is_a_one_line_error(tmp_path: Path, arguments: list[str], message: str) -> None:
    ran = stats(tmp_path, *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert message in ran.stderr
    assert ran.stderr.count("\n") == 1
