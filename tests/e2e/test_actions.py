"""Code actions on the wire: offers, the edit that resolving one returns, and errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import (
    CODE,
    CURSOR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    SETTINGS,
    URI,
    Start,
    Wire,
    initialize_params,
    lasting_server,
    notification,
    request,
)

REQUEST_CANCELLED, CONTENT_MODIFIED, REQUEST_FAILED = -32800, -32801, -32803
LAZY = {
    "codeActionLiteralSupport": {"codeActionKind": {"valueSet": ["quickfix", "refactor"]}},
    "dataSupport": True,
    "resolveSupport": {"properties": ["edit"]},
}
CAPABILITIES = {
    "textDocument": {"inlineCompletion": {}, "codeAction": LAZY},
    "workspace": {"workspaceEdit": {"documentChanges": True, "resourceOperations": ["create"]}},
}
WRITE = (7, 6)
"""A place in the header of the function `write`."""
UPPER = "def upper(text):\n    return text.upper()\n"
"""A function for which the demonstrator writes a whole test."""
DOCUMENTED = 'def read(path):\n    """Read a file."""\n    return 1\n'
DIAGNOSTIC = {
    "range": {"start": {"line": 8, "character": 4}, "end": {"line": 8, "character": 8}},
    "message": "write() does nothing\n  at line 9",
}


def opened(start: Start, capabilities: object = None, settings: object = SETTINGS, text: str = CODE) -> Wire:
    wire = start()
    wire.start(settings, CAPABILITIES if capabilities is None else capabilities)
    wire.model_is_loaded()
    wire.open(URI, text)
    return wire


@pytest.fixture(scope="module")
def lasting() -> Iterator[Wire]:
    with lasting_server(SETTINGS, CAPABILITIES) as made:
        yield made


@pytest.fixture
def served(lasting: Wire) -> Wire:
    """A server that earlier tests used."""
    lasting.emptied().open(URI, CODE)
    return lasting


def action_params(
    first: tuple[int, int], last: tuple[int, int] | None = None, uri: str = URI, **context: Any
) -> dict[str, Any]:
    ends = [{"line": line, "character": character} for line, character in (first, last or first)]
    place = {"start": ends[0], "end": ends[1]}
    return {"textDocument": {"uri": uri}, "range": place, "context": {"diagnostics": [], **context}}


def actions(wire: Wire, msg_id: str, *args: Any, **options: Any) -> list[dict[str, Any]]:
    return wire.call(msg_id, "textDocument/codeAction", action_params(*args, **options))["result"]


def kinds(offered: list[dict[str, Any]]) -> list[str]:
    return [action["data"]["kind"] for action in offered]


def picked(wire: Wire, kind: str, *args: Any, **options: Any) -> dict[str, Any]:
    """The offer of a kind; `WRITE` where no place is given."""
    return next(
        each for each in actions(wire, f"offer {kind}", *(args or (WRITE,)), **options) if each["data"]["kind"] == kind
    )


def resolve(wire: Wire, msg_id: str, action: dict[str, Any]) -> Any:
    return wire.call(msg_id, "codeAction/resolve", action)


def applied(text: str, edit: dict[str, Any]) -> str:
    """The text after one edit, by the editor's own way of counting."""
    lines = text.split("\n")
    start, end = edit["range"]["start"], edit["range"]["end"]
    before = "\n".join([*lines[: start["line"]], lines[start["line"]][: start["character"]]])
    behind = "\n".join([lines[end["line"]][end["character"] :], *lines[end["line"] + 1 :]])
    return before + edit["newText"] + behind


def change(version: int) -> dict[str, object]:
    at = {"line": 0, "character": 0}
    document = {"uri": URI, "version": version}
    changes = [{"range": {"start": at, "end": at}, "text": "#"}]
    return notification("textDocument/didChange", {"textDocument": document, "contentChanges": changes})


# Offers


def test_offers_depend_on_the_place(served: Wire) -> None:
    assert kinds(actions(served, "function", WRITE)) == ["body", "docstring", "test"]
    assert kinds(actions(served, "import", (0, 3))) == []
    assert kinds(actions(served, "selection", (0, 0), (1, 0))) == ["selection"]
    assert kinds(actions(served, "backwards", (1, 0), (0, 0))) == ["selection"]
    assert kinds(actions(served, "far away", (99, 99), (2**31 - 1, 0))) == []
    fix, *others = actions(served, "diagnostic", (8, 5), diagnostics=[DIAGNOSTIC])
    assert (fix["kind"], fix["title"]) == ("quickfix", "Rewrite for: write() does nothing")
    assert [diagnostic["message"] for diagnostic in fix["diagnostics"]] == [DIAGNOSTIC["message"]]
    assert kinds(others) == ["body", "docstring", "test"]
    assert not any({"edit", "tags"} & action.keys() for action in (fix, *others))


def test_only_requested_kinds_are_offered(served: Wire) -> None:
    rewrites = ["body", "docstring", "test"]
    for only, offered in {
        ("quickfix",): ["diagnostic"],
        ("refactor",): rewrites,
        ("refactor.rewrite", "source"): rewrites,
        ("source", "refactor.extract", "refact"): [],
        (): [],
        ("",): ["diagnostic", *rewrites],
    }.items():
        found = actions(served, f"only {only}", (8, 5), diagnostics=[DIAGNOSTIC], only=list(only))
        assert kinds(found) == offered, only


def test_actions_are_tagged_as_generated_if_the_client_knows_the_tag(wire: Start) -> None:
    known = {**CAPABILITIES, "textDocument": {"codeAction": {**LAZY, "tagSupport": {"valueSet": [1]}}}}
    assert {tuple(action["tags"]) for action in actions(opened(wire, known), "tags", WRITE)} == {(1,)}


@pytest.mark.parametrize(
    "editing", [{}, {"codeAction": {}}, {"codeAction": {**LAZY, "resolveSupport": {"properties": ["command"]}}}]
)
def test_a_client_that_cannot_resolve_edits_is_offered_nothing(wire: Start, editing: object) -> None:
    served = wire()
    reply = served.start(SETTINGS, {"textDocument": editing})
    assert "codeActionProvider" not in reply["result"]["capabilities"]
    assert served.call("odd", "textDocument/codeAction", action_params(WRITE))["error"]["code"] == METHOD_NOT_FOUND


def test_the_server_announces_code_actions(wire: Start) -> None:
    can = wire().start(SETTINGS, CAPABILITIES)["result"]["capabilities"]["codeActionProvider"]
    assert can["resolveProvider"] is True
    assert can["codeActionKinds"] == ["quickfix", "refactor.rewrite"]


@pytest.mark.parametrize(
    "settings", [{"model": {"path": "/no/such/model.gguf"}}, {"enabled": False}, {"languages": ["rust"]}]
)
def test_nothing_is_offered_in_documents_without_suggestions(wire: Start, settings: dict[str, object]) -> None:
    served = wire()
    served.start({**SETTINGS, **settings}, CAPABILITIES)
    if "languages" in settings:
        served.model_is_loaded()
    served.open(URI, CODE)
    assert actions(served, "none", WRITE) == []
    stale = {"title": "x", "data": {"uri": URI, "version": 1, "kind": "body", "place": [[7, 6], [7, 6]], "message": ""}}
    assert resolve(served, "no model", stale)["error"]["code"] == REQUEST_FAILED


# Resolving


@pytest.mark.parametrize("kind", ["body", "docstring", "selection", "diagnostic"])
def test_the_edit_names_the_documents_version_and_keeps_other_lines(served: Wire, kind: str) -> None:
    options = {"diagnostics": [DIAGNOSTIC]} if kind == "diagnostic" else {}
    action = picked(served, kind, (8, 4), (8, 8), **options)
    resolved = resolve(served, "resolve", action)["result"]
    assert {key: value for key, value in resolved.items() if key != "edit"} == action
    (changed,) = resolved["edit"]["documentChanges"]
    assert changed["textDocument"] == {"uri": URI, "version": 1}
    (edit,) = changed["edits"]
    made, lines = applied(CODE, edit), CODE.splitlines(keepends=True)
    assert made.startswith("".join(lines[:8]))
    assert made.endswith("\n")
    assert edit["newText"].strip()
    assert "does nothing" not in made


def test_a_client_without_versioned_edits_gets_plain_ones(wire: Start) -> None:
    served = opened(wire, {"textDocument": {"codeAction": LAZY}})
    edit = resolve(served, "resolve", picked(served, "body"))["result"]["edit"]
    assert list(edit) == ["changes"]
    assert list(edit["changes"]) == [URI]


def test_columns_count_utf_16_units(lasting: Wire) -> None:
    header = "def read(path='😀😀'):"
    lasting.emptied().open(URI, f"{header}\n    return '😀' + path\n\n\ny = '😀'\n")
    (changed,) = resolve(lasting, "resolve", picked(lasting, "docstring", (1, 14)))["result"]["edit"]["documentChanges"]
    (edit,) = changed["edits"]
    assert edit["range"]["start"] == edit["range"]["end"] == {"line": 0, "character": len(header) + 2}
    assert re.fullmatch(r'\n    """[^"]+"""', edit["newText"])


def test_an_action_in_a_notebook_cell_edits_that_cell(wire: Start) -> None:
    served = opened(wire)
    cells = [{"kind": 2, "document": f"cell:{n}"} for n in (1, 2)]
    texts = ["import os\n", DOCUMENTED]
    documents = [
        {"uri": f"cell:{n}", "languageId": "python", "version": n, "text": text} for n, text in enumerate(texts, 1)
    ]
    notebook = {"uri": "file:///code/a.ipynb", "notebookType": "jupyter", "version": 1, "cells": cells}
    params = {"notebookDocument": notebook, "cellTextDocuments": documents}
    served.send(notification("notebookDocument/didOpen", params))
    assert kinds(actions(served, "cell", (0, 6), uri="cell:2")) == ["body"]
    resolved = resolve(served, "resolve", picked(served, "body", (0, 6), uri="cell:2"))["result"]
    (changed,) = resolved["edit"]["documentChanges"]
    assert changed["textDocument"] == {"uri": "cell:2", "version": 2}
    assert changed["edits"][0]["range"]["start"] == {"line": 1, "character": 22}
    assert changed["edits"][0]["range"]["end"] == {"line": 2, "character": 12}


def test_a_test_is_written_to_a_new_file_or_added_to_an_existing_one(wire: Start, tmp_path: Path) -> None:
    served = opened(wire, text="")
    uri, tests = (tmp_path / "a.py").as_uri(), tmp_path / "test_a.py"
    (tmp_path / "a.py").write_text(UPPER)
    served.open(uri, UPPER)
    action = picked(served, "test", (0, 4), uri=uri)
    created, changed = resolve(served, "new", action)["result"]["edit"]["documentChanges"]
    assert created == {"kind": "create", "uri": tests.as_uri()}
    assert changed["textDocument"] == {"uri": tests.as_uri(), "version": None}
    assert changed["edits"][0]["newText"].startswith("from a import upper\n\n\ndef test_upper")
    assert not tests.exists()
    served.open(tests.as_uri(), "from a import upper\n\n\ndef test_upper():\n    assert upper('a') == 'A'\n")
    (changed,) = resolve(served, "open", action)["result"]["edit"]["documentChanges"]
    assert changed["textDocument"] == {"uri": tests.as_uri(), "version": 1}
    assert changed["edits"][0]["range"]["start"] == {"line": 5, "character": 0}


def test_a_new_file_is_an_error_if_the_client_cannot_create_files(wire: Start) -> None:
    served = opened(wire, {**CAPABILITIES, "workspace": {"workspaceEdit": {"documentChanges": True}}})
    error = resolve(served, "resolve", picked(served, "test"))["error"]
    assert error["code"] == REQUEST_FAILED
    assert "test_example.py" in error["message"]


def test_an_unusable_answer_is_an_error_without_edit(wire: Start) -> None:
    """The demonstrator was not trained on Zig or Lua: in at least one of these languages it writes no valid code."""
    served, errors = opened(wire, text=""), []
    for language, header, end in (
        ("zig", "fn total(values: []u32) u32 {", "}"),
        ("lua", "function total(values)", "end"),
        ("ruby", "def total(values)", "end"),
        ("rust", "fn total(values: &[u32]) -> u32 {", "}"),
    ):
        uri = f"file:///code/a.{language}"
        served.open(uri, f"{header}\n    return 0\n{end}\n", language)
        served.came.clear()
        errors.append(resolve(served, language, picked(served, "body", (0, 10), uri=uri)).get("error"))
    error = next(error for error in errors if error is not None)
    assert error["code"] == REQUEST_FAILED
    assert error["message"].startswith("the model wrote nothing usable")


# Errors and progress


def test_an_action_for_an_older_version_is_an_error(served: Wire) -> None:
    action = picked(served, "body")
    served.send(change(2))
    assert resolve(served, "stale", action)["error"]["code"] == CONTENT_MODIFIED
    assert resolve(served, "new", picked(served, "docstring"))["result"]["edit"]


def test_an_edit_during_generation_makes_the_action_an_error(served: Wire) -> None:
    action = picked(served, "body")
    served.send(request("late", "codeAction/resolve", action), change(2))
    assert served.reply("late")["error"]["code"] == CONTENT_MODIFIED


@pytest.mark.parametrize("before", ["", "# mine\n"])
@pytest.mark.parametrize("is_changed", [False, True])
def test_a_test_is_for_the_test_file_as_it_is_when_the_model_has_written(
    lasting: Wire,
    tmp_path: Path,
    before: str,
    is_changed: bool,  # noqa: FBT001
) -> None:
    """The editor opens the test file, or changes it, while the model writes."""
    uri, tests = (tmp_path / "a.py").as_uri(), (tmp_path / "test_a.py").as_uri()
    lasting.emptied().open(uri, UPPER)
    document, after = {"uri": tests, "version": 2}, before + "# yours\n" * is_changed
    opening = {"textDocument": {**document, "languageId": "python", "text": after}}
    message = notification("textDocument/didOpen", opening)
    if before:
        lasting.open(tests, before)
        changes = {"textDocument": document, "contentChanges": [{"text": after}]}
        message = notification("textDocument/didChange", changes)
    lasting.send(request("running", "codeAction/resolve", picked(lasting, "test", (0, 4), uri=uri)), message)
    reply = lasting.reply("running")
    if is_changed:
        assert reply["error"]["code"] == CONTENT_MODIFIED
    else:
        assert reply["result"]["edit"]["documentChanges"][-1]["textDocument"] == document


@pytest.mark.parametrize("is_saved", [False, True])
def test_a_test_is_for_the_test_file_on_disk_once_the_editor_has_closed_it(
    wire: Start,
    tmp_path: Path,
    is_saved: bool,  # noqa: FBT001
) -> None:
    served, text = wire(), "# mine\n"
    params = initialize_params(SETTINGS, CAPABILITIES)
    served.call("initialize", "initialize", {**params, "rootUri": tmp_path.as_uri()})
    served.send(notification("initialized", {}))
    served.model_is_loaded()
    uri, tests = (tmp_path / "a.py").as_uri(), tmp_path / "test_a.py"
    tests.write_text(text if is_saved else "# saved\n# long ago\n")
    served.open(uri, UPPER)
    served.open(tests.as_uri(), text)
    closing = notification("textDocument/didClose", {"textDocument": {"uri": tests.as_uri()}})
    served.send(request("running", "codeAction/resolve", picked(served, "test", (0, 4), uri=uri)), closing)
    reply = served.reply("running")
    if "error" in reply:  # the place was chosen before the editor closed the file
        assert not is_saved
        assert reply["error"]["code"] == CONTENT_MODIFIED
    else:
        change = reply["result"]["edit"]["documentChanges"][-1]
        assert change["textDocument"] == {"uri": tests.as_uri(), "version": None}
        assert change["edits"][0]["range"]["start"] == {"line": 1 if is_saved else 2, "character": 0}


def test_a_newer_request_supersedes_a_running_action(served: Wire) -> None:
    action = picked(served, "body")
    served.send(request("first", "codeAction/resolve", action), request("second", "codeAction/resolve", action))
    assert served.reply("first")["error"]["code"] == REQUEST_FAILED
    assert served.reply("second")["result"]["edit"]
    assert served.complete("still here", URI, *CURSOR)["result"]["items"]


def test_a_cancelled_action_is_an_error_and_stops_the_model(served: Wire) -> None:
    n_before = served.call("before", "starcoder/metrics")["result"]["tokens"]["generated"]
    action = picked(served, "body")
    served.send(
        request("cancelled", "codeAction/resolve", action), notification("$/cancelRequest", {"id": "cancelled"})
    )
    assert served.reply("cancelled")["error"]["code"] == REQUEST_CANCELLED
    n_generated = served.call("cost", "starcoder/metrics")["result"]["tokens"]["generated"]
    assert n_generated - n_before < 64
    assert resolve(served, "again", action)["result"]["edit"]


@pytest.fixture
def begun(wire: Start) -> tuple[Wire, dict[str, Any]]:
    """A client that shows progress, and the `begin` of an action's progress in a long document."""
    served = opened(wire, {**CAPABILITIES, "window": {"workDoneProgress": True}}, text=CODE + "x = 1\n" * 500)
    served.send(request("resolve", "codeAction/resolve", picked(served, "docstring")))
    created = served.until(lambda message: message.get("method") == "window/workDoneProgress/create")
    served.send({"jsonrpc": "2.0", "id": created["id"], "result": None})
    return served, served.until(lambda message: progress_of(message).get("kind") == "begin")["params"]


def progress_of(message: dict[str, Any]) -> dict[str, Any]:
    return message["params"]["value"] if message.get("method") == "$/progress" else {}


def test_progress_reports_the_number_of_lines(begun: tuple[Wire, dict[str, Any]]) -> None:
    served, beginning = begun
    assert beginning["value"] == {"kind": "begin", "title": "Write a docstring for write", "cancellable": True}
    assert served.reply("resolve")["result"]["edit"]
    of_it = [message for message in served.came if message.get("params", {}).get("token") == beginning["token"]]
    reports = [progress_of(message) for message in of_it if message["method"] == "$/progress"]
    assert [each["kind"] for each in (reports[0], reports[-1])] == ["begin", "end"]
    assert all(re.fullmatch(r"\d+ lines?", each["message"]) for each in reports[1:-1])


def test_an_action_can_be_cancelled_by_its_progress(begun: tuple[Wire, dict[str, Any]]) -> None:
    served, beginning = begun
    served.send(notification("window/workDoneProgress/cancel", {"token": beginning["token"]}))
    assert served.reply("resolve")["error"]["code"] == REQUEST_CANCELLED
    assert progress_of(served.came[-2]) == {"kind": "end"}


def test_a_client_may_refuse_the_progress(wire: Start) -> None:
    served = opened(wire, {**CAPABILITIES, "window": {"workDoneProgress": True}})
    served.send(request("resolve", "codeAction/resolve", picked(served, "docstring")))
    created = served.until(lambda message: message.get("method") == "window/workDoneProgress/create")
    served.send({"jsonrpc": "2.0", "id": created["id"], "error": {"code": -32601, "message": "no"}})
    assert served.reply("resolve")["result"]["edit"]


PLACE = [[7, 6], [7, 6]]
GOOD = {"uri": URI, "version": 1, "kind": "body", "place": PLACE, "message": ""}


def test_invalid_data_of_an_action_is_an_error(served: Wire) -> None:
    odd: list[object] = [
        None,
        3,
        [],
        {},
        {"uri": URI},
        {**GOOD, "version": "one"},
        {**GOOD, "uri": "file:///unknown.py"},
    ]
    odd += [{**GOOD, "place": place} for place in ([], [[7], [6]], [[7, -6], [7, 6]], [["a", "b"], [7, 6]], None)]
    for number, data in enumerate(odd):
        assert resolve(served, f"odd {number}", {"title": "x", "data": data})["error"]["code"] == INVALID_PARAMS, data
    never = [{**GOOD, "kind": "unheard of"}, {**GOOD, "place": [[0, 0], [0, 0]]}, {**GOOD, "kind": "diagnostic"}]
    for number, data in enumerate(never):
        assert resolve(served, f"never {number}", {"title": "x", "data": data})["error"]["code"] == REQUEST_FAILED, data
    assert actions(served, "still here", WRITE)


def test_odd_parameters_are_an_error(served: Wire) -> None:
    for number, params in enumerate(
        [None, {}, {"textDocument": {"uri": URI}}, action_params((0, 0), uri="file:///unknown.py")]
    ):
        assert served.call(f"odd {number}", "textDocument/codeAction", params)["error"]["code"] == INVALID_PARAMS


def test_each_of_many_requests_in_one_write_is_for_the_text_at_that_moment(served: Wire) -> None:
    messages: list[dict[str, object]] = []
    for n in range(2, 40):
        document, text = {"uri": URI, "version": n}, f"def f{n}():\n    pass\n"
        messages += (
            notification("textDocument/didChange", {"textDocument": document, "contentChanges": [{"text": text}]}),
            request(n, "textDocument/codeAction", action_params((0, 4))),
        )
    served.send(*messages)
    for n in range(2, 40):
        body = served.reply(n)["result"][0]
        assert (body["data"]["version"], body["title"]) == (n, f"Fill the body of f{n}")
