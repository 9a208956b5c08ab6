"""The gate in a real server: hidden suggestions, their explanation, and fitting the gate to another model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from starcoder_lsp.engine.loading import DEMONSTRATOR
from tests.e2e.conftest import ROOT, SETTINGS, Start, Wire
from tests.e2e.test_cli import settings_file
from tests.e2e.test_statistics import GHOST_TEXT, stats, stop

SOURCE = (ROOT / "starcoder_lsp/documents/text.py").read_text().splitlines(keepends=True)[50:120]
PLACES = [
    (number, len(line) // 2)
    for number, line in enumerate(SOURCE)
    if len(line) > 40 and not line.lstrip().startswith('"')
][:8]
"""Places in the middle of long lines. The rest of such a line is hidden from the model."""
NOT_FITTED = "it is not fitted"


def serve(wire: Start, folder: Path, calm: float, model: Path | None = None) -> Wire:
    """Start a server whose automatic answers pass the gate."""
    served = wire(env={"XDG_DATA_HOME": str(folder)})
    settings: dict[str, Any] = {
        **SETTINGS,
        "completion": {"maxTokens": 24, "calm": calm},
        "context": {"maxTokens": 256, "maxPrefillMs": 100_000},
    }
    served.start(settings | ({"model": {"path": str(model)}} if model else {}), GHOST_TEXT)
    served.model_is_loaded()
    return served


def complete_at(served: Wire, number: int, place: tuple[int, int], kind: int = 2) -> str | None:
    """Open the text without the rest of one line, and return the suggestion there, if any."""
    uri = f"file:///code/place_{number}.py"
    line, character = place
    if kind == 2:
        served.open(uri, "".join([*SOURCE[:line], SOURCE[line][:character] + "\n", *SOURCE[line + 1 :]]))
    reply = served.complete(f"{uri} {kind}", uri, line, character, kind)["result"]
    return reply["items"][0]["insertText"] if reply and reply["items"] else None


def explain_at(served: Wire, number: int, place: tuple[int, int]) -> Any:
    where = {"line": place[0], "character": place[1]}
    params = {"textDocument": {"uri": f"file:///code/place_{number}.py"}, "position": where}
    return served.call(f"explain {number}", "starcoder/explain", params)["result"]


def shown_by(served: Wire) -> list[str | None]:
    return [complete_at(served, number, place) for number, place in enumerate(PLACES)]


def test_a_likely_wrong_suggestion_is_hidden_and_explained_and_shown_on_request(wire: Start, tmp_path: Path) -> None:
    served = serve(wire, tmp_path, 1.0)
    n_hidden = n_shown = n_on_request = 0
    for number, place in enumerate(PLACES):
        found = complete_at(served, number, place)
        explained = explain_at(served, number, place)
        gate = explained["gate"]
        if gate is None:  # the model's text had no part to show
            assert found is None
            continue
        assert gate["shown"] == (found is not None) == (gate["probability"] >= gate["limit"])
        n_shown += gate["shown"]
        if not gate["shown"]:
            n_hidden += 1
            assert gate["against"]
            assert {"name": "gate", "effect": "dropped"} in explained["filters"]
            n_on_request += complete_at(served, number, place, kind=1) is not None  # its answers are others
    assert n_hidden
    assert n_on_request
    assert n_shown
    stop(served)
    notes = json.loads(stats(tmp_path, "--json").stdout)["notes"]
    assert any(note.startswith("withheld") and f"gate {n_hidden}" in note for note in notes), notes


@pytest.mark.timeout(600)  # 75 holes are filled, two servers load the model
def test_with_another_model_the_gate_hides_only_between_fit_and_reset(wire: Start, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    shutil.copyfile(DEMONSTRATOR, other)
    with other.open("ab") as file:  # with other bytes it is another model for the gate
        file.write(bytes(4096))
    everything = shown_by(serve(wire, tmp_path, 1.0, other))
    assert any(everything)
    assert NOT_FITTED in stats(tmp_path, "gate", "--model", str(other)).stdout

    code = str(ROOT / "starcoder_lsp/documents")
    (home := tmp_path / "home").mkdir()
    small = settings_file(home, "[host]\nshared = false\n[context]\nmaxTokens = 256\n")  # as for the servers
    fitted = stats(tmp_path, "gate", "--fit", code, "--model", str(other), "--holes", "75", **small)
    assert fitted.returncode == 0, fitted.stderr
    assert "fitted to" in fitted.stderr
    assert NOT_FITTED not in fitted.stdout
    calm = shown_by(serve(wire, tmp_path, 1.0, other))
    assert calm.count(None) > everything.count(None)

    assert stats(tmp_path, "gate", "--reset").returncode == 0
    assert NOT_FITTED in stats(tmp_path, "gate", "--model", str(other)).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fit", "one.py"], "name more files, or raise --holes"),
        (["--fit", "missing.py"], "missing.py"),
        (["--reset", "--fit", "one.py"], "not allowed with"),
        (["--model", "missing.gguf"], "missing.gguf"),
    ],
)
def test_an_error_of_the_fit_is_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "one.py").write_text("import os\n\nprint(os.name, os.sep)\n")
    ran = stats(tmp_path, "gate", *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert message in ran.stderr
    assert ran.stderr.rstrip("\n").count("\n") == 0
