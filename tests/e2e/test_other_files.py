"""Snippets of other files in the prompt: chosen, stable while the user types, and renewed on a return."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Wire, completion_params, initialize_params, notification, request

READER = '''class Reader:
    """Reads frames."""

    def read_frame(self, size, checksum=None):
        return self.stream.read(size)
'''
MAIN = "from reader import Reader\n\n\ndef frames(path):\n    reader = Reader(path)\n    return reader.\n"
CURSOR = (5, 18)
SETTINGS = {"debounce": {"mode": "off"}, "completion": {"maxTokens": 4}}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "reader.py").write_text(READER)
    (tmp_path / "main.py").write_text(MAIN)
    (tmp_path / "secrets.py").write_text("KEY = 'hidden away'\n")
    return tmp_path


def started(wire: Callable[..., Wire], project: Path, settings: dict[str, Any] = SETTINGS) -> Wire:
    server = wire()
    params = initialize_params(settings) | {"rootUri": project.as_uri()}
    server.send(request("initialize", "initialize", params))
    server.reply("initialize")
    server.send(notification("initialized", {}))
    server.model_is_loaded()
    return server


def explained(server: Wire, msg_id: str, uri: str, place: tuple[int, int] = CURSOR) -> dict[str, Any]:
    where = {"textDocument": {"uri": uri}, "position": {"line": place[0], "character": place[1]}}
    return server.call(msg_id, "starcoder/explain", where)["result"]


def changed(uri: str, version: int, line: int, character: int, text: str) -> dict[str, object]:
    place = {"line": line, "character": character}
    change = {"range": {"start": place, "end": place}, "text": text}
    return notification(
        "textDocument/didChange", {"textDocument": {"uri": uri, "version": version}, "contentChanges": [change]}
    )


def test_an_imported_definition_is_shown_in_the_repository_layout(wire: Callable[..., Wire], project: Path) -> None:
    server, uri = started(wire, project), (project / "main.py").as_uri()
    server.open(uri, MAIN)
    answer = explained(server, "explain", uri)
    assert answer["format"] == "starcoder2/repository"
    prompt = answer["prompt"]
    assert prompt.startswith(f"<repo_name>{project.name}<file_sep>reader.py\nclass Reader:")
    assert "def read_frame(self, size, checksum=None):" in prompt
    assert "<file_sep><fim_prefix>main.py\nfrom reader import Reader\n" in prompt
    (snippet,) = [segment for segment in answer["segments"] if segment["kind"] == "snippet"]
    assert (snippet["path"], snippet["startLine"]) == ("reader.py", 1)
    assert "hidden away" not in prompt


def test_typing_does_not_change_the_snippets(wire: Callable[..., Wire], project: Path) -> None:
    server, uri = started(wire, project), (project / "main.py").as_uri()
    server.open(uri, MAIN)
    server.complete("first", uri, *CURSOR)
    before = server.call("before", "starcoder/metrics")["result"]["tokens"]
    for n, letter in enumerate("read_fr"):
        server.send(changed(uri, n + 2, CURSOR[0], CURSOR[1] + n, letter))
        server.complete(f"letter {n}", uri, CURSOR[0], CURSOR[1] + n + 1)
    after = server.call("after", "starcoder/metrics")["result"]["tokens"]
    assert after["evaluated"] - before["evaluated"] <= 3 * 7
    assert after["reused"] - before["reused"] > 100


def test_snippets_of_an_edited_file_are_renewed_on_a_return(wire: Callable[..., Wire], project: Path) -> None:
    server = started(wire, project)
    main, reader = (project / "main.py").as_uri(), (project / "reader.py").as_uri()
    server.open(main, MAIN)
    server.complete("first", main, *CURSOR)
    server.open(reader, READER)
    n_ahead = server.call("so far", "starcoder/metrics")["result"]["tokens"]["ahead"]
    server.send(changed(reader, 2, 3, 18, "_quickly"))
    server.send(changed(main, 2, 1, 0, "x"))
    server.complete("typed at once", main, 1, 1)
    for n in range(10_000):  # this happens after a pause without requests; metrics do not count
        if server.call(n, "starcoder/metrics")["result"]["tokens"]["ahead"] > n_ahead:
            break
    assert "read_frame_quickly" in explained(server, "explain", main)["prompt"]


@pytest.mark.parametrize(
    "settings",
    [{"context": {"maxSnippetTokens": 0}}, {"context": {"imports": False}}, {"disabledGlobs": ["**/reader.py"]}],
)
def test_settings_keep_other_files_out(wire: Callable[..., Wire], project: Path, settings: dict[str, Any]) -> None:
    server, uri = started(wire, project, SETTINGS | settings), (project / "main.py").as_uri()
    server.open(uri, MAIN)
    answer = explained(server, "explain", uri)
    assert answer["format"] == "starcoder2/psm"
    assert "read_frame(self" not in answer["prompt"]


def test_without_a_root_only_open_documents_are_shown(wire: Callable[..., Wire], project: Path) -> None:
    server = wire()
    server.start(SETTINGS)
    server.model_is_loaded()
    uri = (project / "main.py").as_uri()
    server.open(uri, MAIN)
    assert explained(server, "explain", uri)["format"] == "starcoder2/psm"
    assert server.call("c", "textDocument/inlineCompletion", completion_params(uri, *CURSOR))["result"] is not None
