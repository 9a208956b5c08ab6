"""Messages that are repaired, and errors that name the parameter of a wrong type."""

from __future__ import annotations

from typing import Any

import pytest
from lsprotocol import types

from starcoder_lsp.lsp.forgiving import MAX_DEPTH, forgive, is_too_deep
from starcoder_lsp.lsp.shapes import misfit

PLACE = {"line": 0, "character": 1}
RANGE = {"start": PLACE, "end": PLACE}


@pytest.mark.parametrize(
    ("method", "params", "expected"),
    [
        ("textDocument/didOpen", {"textDocument": {"uri": "a"}}, {"textDocument": {"uri": "a", "version": 0}}),
        (
            "textDocument/didChange",
            {"textDocument": {"version": None}, "contentChanges": [{"range": None, "rangeLength": None, "text": "x"}]},
            {"textDocument": {"version": 0}, "contentChanges": [{"text": "x"}]},
        ),
        ("textDocument/inlineCompletion", {}, {"context": {"triggerKind": 1}}),
        ("textDocument/inlineCompletion", {"context": None}, {"context": {"triggerKind": 1}}),
        ("textDocument/inlineCompletion", {"context": {"triggerKind": 0}}, {"context": {"triggerKind": 1}}),
        ("textDocument/inlineCompletion", {"context": {"triggerKind": 2}}, {"context": {"triggerKind": 2}}),
        ("textDocument/completion", {}, {}),
        ("textDocument/completion", {"context": {"triggerKind": 0}}, {"context": {"triggerKind": 1}}),
        (
            "notebookDocument/didChange",
            {
                "notebookDocument": {},
                "change": {"cells": {"textContent": [{"document": {}, "changes": [{"range": None}]}]}},
            },
            {
                "notebookDocument": {"version": 0},
                "change": {"cells": {"textContent": [{"document": {"version": 0}, "changes": [{}]}]}},
            },
        ),
        ("no/such/method", {"textDocument": {}}, {"textDocument": {}}),
    ],
)
def test_harmless_mistakes_are_repaired(method: str, params: dict[str, Any], expected: dict[str, Any]) -> None:
    forgive(method, params)
    assert params == expected


@pytest.mark.parametrize("junk", [None, 1, "x", [], [[]], {}, {"textDocument": 1}, {"contentChanges": {"a": 1}}])
@pytest.mark.parametrize("name", ["textDocument", "contentChanges", "context", "notebookDocument", "change", ""])
def test_junk_raises_nothing(name: str, junk: object) -> None:
    for method in types.METHOD_TO_TYPES:
        forgive(method, {name: junk} if name else junk)


@pytest.mark.parametrize(
    ("method", "params", "wrong"),
    [
        ("textDocument/didOpen", {"textDocument": {"languageId": []}}, "textDocument.languageId: expected a string"),
        ("textDocument/didOpen", {"textDocument": {"text": 5}}, "textDocument.text: expected a string"),
        ("textDocument/didOpen", {"textDocument": {"version": True}}, "textDocument.version: expected a whole number"),
        ("$/cancelRequest", {"id": {}}, "id: expected a whole number or a string"),
        ("window/workDoneProgress/cancel", {"token": {}}, "token: expected a whole number or a string"),
        ("textDocument/didChange", {"contentChanges": {}}, "contentChanges: expected a list"),
        ("textDocument/didChange", {"contentChanges": [{"text": []}]}, "contentChanges[0].text: expected a string"),
        (
            "textDocument/didChange",
            {"contentChanges": [{"range": {"start": {"line": "0"}}, "text": ""}]},
            "contentChanges[0].range.start.line: expected a whole number",
        ),
        ("workspace/executeCommand", {"command": "a", "arguments": {}}, "arguments: expected a list"),
        ("textDocument/codeAction", {"context": {"only": "quickfix"}}, "context.only: expected a list"),
    ],
)
def test_a_parameter_of_a_wrong_type_is_named(method: str, params: dict[str, Any], wrong: str) -> None:
    assert misfit(params, types.METHOD_TO_TYPES[method][2]) == f"params.{wrong}"


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("textDocument/didOpen", {"textDocument": {"uri": "a", "languageId": "klingon", "version": 1, "text": ""}}),
        ("textDocument/didChange", {"contentChanges": [{"range": RANGE, "text": "", "more": []}, {"text": "x"}]}),
        ("workspace/executeCommand", {"command": "a", "arguments": [{"a": [1, None, {"b": 2.5}]}]}),
        ("workspace/didChangeConfiguration", {"settings": [[]]}),
        ("textDocument/codeAction", {"context": {"diagnostics": [{"range": RANGE, "message": "m", "code": "E1"}]}}),
        ("textDocument/inlineCompletion", {"position": {"line": 1.0, "character": 0}, "workDoneToken": None}),
    ],
)
def test_valid_parameters_are_accepted(method: str, params: dict[str, Any]) -> None:
    assert misfit(params, types.METHOD_TO_TYPES[method][2]) == ""


def test_nesting_is_measured_without_recursion() -> None:
    message: Any = 1
    for _ in range(MAX_DEPTH - 1):
        message = {"a": [1, 2]} if message == 1 else [message]
    assert not is_too_deep(message)
    for _ in range(5000):
        message = [message]
    assert is_too_deep(message)
