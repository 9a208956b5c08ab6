"""Notebooks over the wire: earlier cells are in the prompt, and typing in a cell evaluates few tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from .conftest import SETTINGS, Wire, completion_params, lasting_server, notification, request

Start = Callable[..., Wire]

URI = "file:///home/me/study.ipynb"
CAPABILITIES = {"notebookDocument": {"synchronization": {}}}
CODE, MARKUP = 2, 1
WARNING = 2
INVOKED = {**SETTINGS, "trigger": "invoked"}
"""With these settings nothing is prefilled, so all counted tokens are those of requests."""
FIRST = "".join(f"value_{n} = compute({n})\n" for n in range(20))
SECOND = "# Results\n\nThe numbers of last year"
LAST = "def total(values):\n    result = 0\n    for "
END = (2, 8)


def cell(number: int) -> str:
    return f"vscode-notebook-cell:/home/me/study.ipynb#{number}"


def cell_of(number: int, kind: int = CODE) -> dict[str, object]:
    return {"kind": kind, "document": cell(number)}


def text_of(number: int, text: str, language: str = "python") -> dict[str, object]:
    return {"uri": cell(number), "languageId": language, "version": 1, "text": text}


def did_open(cells: Iterable[dict[str, object]], texts: Iterable[dict[str, object]], uri: str = URI) -> dict[str, Any]:
    notebook = {"uri": uri, "notebookType": "jupyter-notebook", "version": 1, "cells": list(cells)}
    return notification("notebookDocument/didOpen", {"notebookDocument": notebook, "cellTextDocuments": list(texts)})


def did_change(version: int, cells: object, uri: str = URI) -> dict[str, Any]:
    notebook = {"uri": uri, "version": version}
    return notification("notebookDocument/didChange", {"notebookDocument": notebook, "change": {"cells": cells}})


def typed(version: int, number: int, line: int, character: int, text: str) -> dict[str, Any]:
    place = {"line": line, "character": character}
    change = {"range": {"start": place, "end": place}, "text": text}
    return did_change(
        version, {"textContent": [{"document": {"uri": cell(number), "version": version}, "changes": [change]}]}
    )


def content_of(change: dict[str, Any]) -> list[Any]:
    content: list[Any] = change["params"]["change"]["cells"]["textContent"]
    return content


def structure(version: int, start: int, n_deleted: int, cells: list[object], **texts: object) -> dict[str, Any]:
    array = {"start": start, "deleteCount": n_deleted, "cells": cells}
    return did_change(version, {"structure": {"array": array, **texts}})


def did_close(uri: str = URI, *numbers: int) -> dict[str, Any]:
    documents = [{"uri": cell(number)} for number in numbers]
    return notification("notebookDocument/didClose", {"notebookDocument": {"uri": uri}, "cellTextDocuments": documents})


OPENED = did_open(
    [cell_of(1), cell_of(2, MARKUP), cell_of(3)],
    [text_of(1, FIRST), text_of(2, SECOND, "markdown"), text_of(3, LAST)],
)


@pytest.fixture(scope="module")
def lasting() -> Iterator[Wire]:
    with lasting_server(INVOKED, CAPABILITIES) as made:
        yield made


@pytest.fixture
def server(lasting: Wire) -> Iterator[Wire]:
    """A server that earlier tests used, with the notebook open. No test may cause an internal error."""
    lasting.send(did_close(URI, 1, 2, 3))
    lasting.emptied().send(OPENED)
    yield lasting
    lasting.call("at last", "starcoder/metrics")
    assert "internal error" not in json.dumps(lasting.came)


@pytest.fixture
def start(wire: Start) -> Start:
    def started(settings: object) -> Wire:
        server = wire()
        server.start(settings, CAPABILITIES)
        server.model_is_loaded()
        server.send(OPENED)
        return server

    return started


class Requester:
    """Sends requests, each with a new id."""

    def __init__(self, server: Wire) -> None:
        self.server = server
        self.n_asked = 0

    def call(self, method: str, params: object = None) -> Any:
        self.n_asked += 1
        return self.server.call(f"question {self.n_asked}", method, params)

    def complete(self, number: int = 3, line: int = END[0], character: int = END[1]) -> Any:
        return self.call("textDocument/inlineCompletion", completion_params(cell(number), line, character))

    def prompt(self, number: int = 3, line: int = END[0], character: int = END[1]) -> str:
        place = {"textDocument": {"uri": cell(number)}, "position": {"line": line, "character": character}}
        prompt: str = self.call("starcoder/explain", place)["result"]["prompt"]
        return prompt

    def n_evaluated(self) -> int:
        n: int = self.call("starcoder/metrics")["result"]["tokens"]["evaluated"]
        return n


def is_clean_end(server: Wire) -> bool:
    return server.stop() == 0 and server.errors == [] and "internal error" not in json.dumps(server.rest())


def test_the_server_registers_for_notebooks(wire: Start) -> None:
    capabilities = wire().start(capabilities=CAPABILITIES)["result"]["capabilities"]
    assert capabilities["notebookDocumentSync"] == {"notebookSelector": [{"notebook": "*"}]}
    assert "notebookDocumentSync" not in wire().start()["result"]["capabilities"]


def test_earlier_cells_are_in_the_prompt(server: Wire) -> None:
    requester = Requester(server)
    item, *_ = requester.complete()["result"]["items"]
    place = {"line": END[0], "character": END[1]}
    assert item["range"] == {"start": place, "end": place}
    prompt = requester.prompt()
    assert FIRST in prompt
    assert "# # Results\n#\n# The numbers of last year\n" in prompt
    assert prompt.index(FIRST) < prompt.index("numbers of last year") < prompt.index("def total(values):")
    assert "def total(values):" in requester.prompt(1, 17, 0)  # later cells are text behind the cursor
    server.send(typed(2, 1, 4, 0, "alpha = "))
    assert "alpha = value_4" in requester.prompt()


def test_cells_may_be_inserted_moved_and_deleted(server: Wire) -> None:
    requester = Requester(server)
    server.send(structure(2, 2, 0, [cell_of(4)], didOpen=[text_of(4, "inserted = 4")]))
    assert "inserted = 4\n\ndef total" in requester.prompt()
    server.send(structure(3, 0, 3, [cell_of(4), cell_of(2, MARKUP), cell_of(1)]))
    prompt = requester.prompt()
    assert prompt.index("inserted = 4") < prompt.index("numbers of last year") < prompt.index(FIRST)
    server.send(structure(4, 1, 2, [], didClose=[{"uri": cell(2)}, {"uri": cell(1)}]))
    prompt = requester.prompt()
    assert "inserted = 4\n\ndef total" in prompt
    assert "value_1" not in prompt
    assert "numbers" not in prompt
    assert requester.complete(1)["error"]["message"] == f"the document {cell(1)} is not open"
    assert requester.complete()["result"]["items"]


def test_a_cell_that_ran_or_became_code_is_in_the_prompt(server: Wire) -> None:
    requester = Requester(server)
    ran = {**cell_of(1), "executionSummary": {"executionOrder": 1, "success": True}, "metadata": {"tags": [1, None]}}
    server.send(did_change(2, {"data": [ran]}), did_change(3, {"data": [cell_of(2, CODE)]}))
    prompt = requester.prompt()
    assert FIRST in prompt
    assert "numbers of last year" not in prompt


def test_typing_in_a_cell_evaluates_a_few_tokens(server: Wire) -> None:
    requester = Requester(server)
    assert requester.complete()["result"]
    for n, character in enumerate("number in values:"):
        before = requester.n_evaluated()
        server.send(typed(n + 2, 3, END[0], END[1] + n, character))
        assert requester.complete(3, END[0], END[1] + n + 1)["result"] is not None
        assert requester.n_evaluated() - before <= 3
    assert "for number in values:" in requester.prompt(3, END[0], END[1] + 17)


def test_a_message_may_name_a_cell_more_than_once(server: Wire) -> None:
    """After a restart the front sends all edits of a notebook's cells in one message."""
    changes = [each for text in ("one", "two", "three") for each in content_of(typed(2, 1, 0, 0, text))[0]["changes"]]
    document = {"uri": cell(1), "version": 2}
    content = [{"document": document, "changes": changes[:1]}, {"document": document, "changes": changes[1:]}]
    server.send(did_change(2, {"textContent": [*content, *content_of(typed(2, 3, 0, 0, "# four\n"))]}))
    prompt = Requester(server).prompt(3, 3, 8)
    assert "threetwoonevalue_0" in prompt
    assert "# four\ndef total" in prompt


def test_an_opened_or_edited_notebook_is_prefilled(start: Start) -> None:
    server = start(SETTINGS)
    requester = Requester(server)

    def until_ahead(n_tokens: int) -> Any:
        while (report := requester.call("starcoder/metrics")["result"])["tokens"]["ahead"] <= n_tokens:
            pass
        return report

    report = until_ahead(0)
    assert [document["uri"] for document in report["documents"]] == ["notebook:///home/me/study.ipynb#python"]
    server.send(typed(2, 1, 19, 0, "another_value = 'some'\n"))
    until_ahead(report["tokens"]["ahead"])
    assert is_clean_end(server)


def test_an_edit_of_any_cell_supersedes_requests_of_the_others(server: Wire) -> None:
    n_before = server.call(0, "starcoder/metrics")["result"]["requests"]["superseded"]
    server.send(
        request(1, "textDocument/inlineCompletion", completion_params(cell(3), *END)),
        typed(2, 1, 0, 0, "x"),
        request(2, "textDocument/inlineCompletion", completion_params(cell(1), 0, 1)),
        request(3, "textDocument/inlineCompletion", completion_params(cell(3), *END)),
    )
    assert [server.reply(n)["result"] is None for n in (1, 2, 3)] == [True, True, False]
    assert server.call(4, "starcoder/metrics")["result"]["requests"]["superseded"] == n_before + 2


@pytest.mark.parametrize(
    ("settings", "is_answered"),
    [
        ({"disabledGlobs": ["*.ipynb"]}, (False, False)),
        ({"disabledGlobs": ["/home/you"]}, (True, True)),
        ({"languages": ["markdown"]}, (False, True)),
    ],
)
def test_settings_can_exclude_notebooks(start: Start, settings: object, is_answered: tuple[bool, bool]) -> None:
    requester = Requester(start({**INVOKED, **settings}))  # type: ignore[dict-item]
    assert (
        requester.complete()["result"] is not None,
        requester.complete(2, 0, 3)["result"] is not None,
    ) == is_answered


def test_a_closed_notebook_is_forgotten(server: Wire) -> None:
    requester = Requester(server)
    assert requester.complete()["result"]
    server.send(did_close(URI, 1, 2, 3))
    assert requester.complete()["error"]["message"] == f"the document {cell(3)} is not open"
    server.send(OPENED, did_close())  # at once, since no document is left to prefill
    assert requester.complete()["error"]["message"] == f"the document {cell(3)} is not open"
    server.send(OPENED)
    assert requester.complete()["result"]["items"]


NO_POSITION = {"range": {"start": {"line": 0, "character": 2**40}, "end": None}, "text": "x"}
LOST = [
    structure(2, 3, 1, []),
    structure(2, 4, 0, [cell_of(4)], didOpen=[text_of(4, "x")]),
    structure(2, 2**31 - 1, 2**31 - 1, []),
    structure(2, 0, 1, [], didClose=[{"uri": cell(9)}]),
    structure(2, -1, 0, []),
    structure(2, 0, 0, [{"kind": 7, "document": cell(9)}]),
    did_change(2, {"structure": {"array": {"start": 0}}}),
    did_change(2, {"textContent": [{"document": {"uri": cell(3), "version": 2}, "changes": [NO_POSITION]}]}),
    typed(2, 9, 0, 0, "x"),
]
"""Changes of a notebook that cannot be applied."""


def test_after_an_invalid_change_a_notebook_must_be_opened_again(server: Wire) -> None:
    requester = Requester(server)
    for n_lost, lost in enumerate(LOST, 1):
        server.send(lost)
        assert requester.complete()["result"] is None, lost
        server.send(typed(3, 3, *END, "x"))
        assert requester.complete()["result"] is None, lost
        warnings = [message for message in server.came if message.get("params", {}).get("type") == WARNING]
        assert len([each for each in warnings if each["method"] == "window/logMessage"]) == 2 * n_lost, lost
        server.send(OPENED)
        assert requester.complete()["result"]["items"], lost


HARMLESS = [
    did_change(2, {}, uri="file:///never-opened.ipynb"),
    did_close("file:///never-opened.ipynb"),
    did_change(2, None),
    did_change(2, {}),
    did_open([], [], uri="file:///empty.ipynb"),
    did_open([cell_of(8)], [], uri="file:///no-text.ipynb"),
    did_open([cell_of(8), cell_of(8)], [text_of(8, "twice")] * 2, uri="file:///twice.ipynb"),
    notification("notebookDocument/didOpen", {"notebookDocument": None}),
    notification("notebookDocument/didChange", {}),
    notification("notebookDocument/didClose", [URI]),
    notification("notebookDocument/didSave", {"notebookDocument": {"uri": URI}}),
    notification("textDocument/didFocus", {"textDocument": {"uri": cell(1)}}),
    notification("textDocument/didFocus", {"textDocument": {"uri": cell(9)}}),
]


def test_harmless_odd_messages_do_not_change_the_notebook(start: Start) -> None:
    server = start(SETTINGS)
    requester = Requester(server)
    for harmless in HARMLESS:
        server.send(harmless)
        assert requester.complete()["result"]["items"], harmless
    assert is_clean_end(server)


def test_cells_opened_without_a_notebook_are_documents(server: Wire) -> None:
    requester = Requester(server)
    server.open(cell(11), "alone = 1\n")
    assert requester.complete(11, 1, 0)["result"]
    assert FIRST not in requester.prompt(11, 1, 0)
