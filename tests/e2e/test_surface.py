"""Features beside ghost text: menus, commands, status, outcomes of suggestions, folders and settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from starcoder_lsp.engine.loading import DEMONSTRATOR

from .conftest import CODE, CURSOR, INVALID_PARAMS, SETTINGS, URI, Start, Wire, lasting_server, notification, request

GHOST_TEXT = {"textDocument": {"inlineCompletion": {}}}
STATUS = {**GHOST_TEXT, "experimental": {"starcoder": {"status": True}}}
AUTOMATIC = 2


@pytest.fixture
def start(wire: Start) -> Start:
    return wire


@pytest.fixture(scope="module")
def lasting() -> Iterator[Wire]:
    with lasting_server(SETTINGS, GHOST_TEXT) as made:
        yield made


@pytest.fixture
def served(lasting: Wire) -> Wire:
    """A client with ghost text, an open document, and a loaded model, of a server that earlier tests used."""
    lasting.emptied().open(URI, CODE)
    return lasting


def opened(start: Start, capabilities: object, settings: object = SETTINGS) -> Wire:
    wire = start()
    wire.start(settings, capabilities)
    wire.model_is_loaded()
    wire.open(URI, CODE)
    return wire


def items(wire: Wire, msg_id: str = "items", place: tuple[int, int] = CURSOR) -> list[dict[str, Any]]:
    return wire.complete(msg_id, URI, *place, AUTOMATIC)["result"]["items"]


def edit(wire: Wire, version: int, place: tuple[int, int], text: str) -> None:
    at = {"line": place[0], "character": place[1]}
    change = {"range": {"start": at, "end": at}, "text": text}
    document = {"uri": URI, "version": version}
    wire.send(notification("textDocument/didChange", {"textDocument": document, "contentChanges": [change]}))


class Outcomes:
    """Counts the outcomes of one test's suggestions."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._before = self._all("before")

    def _all(self, msg_id: str) -> dict[str, int]:
        return self._wire.call(msg_id, "starcoder/metrics")["result"]["suggestions"]

    def __call__(self, msg_id: str) -> dict[str, int]:
        return {name: n - self._before[name] for name, n in self._all(msg_id).items()}


@pytest.fixture
def outcomes(served: Wire) -> Outcomes:
    return Outcomes(served)


def command(wire: Wire, msg_id: str, name: str, *arguments: object) -> Any:
    return wire.call(msg_id, "workspace/executeCommand", {"command": name, "arguments": list(arguments)})


# Outcomes of suggestions


def test_shown_and_accepted_suggestions_are_counted(served: Wire, outcomes: Outcomes) -> None:
    (item,) = items(served)
    served.send(notification("textDocument/didShowCompletion", {"item": item}))
    served.send(notification("textDocument/didShowCompletion", {"item": item}))
    assert outcomes("shown") == {"offered": 1, "shown": 1, "accepted": 0, "partly": 0, "rejected": 0}
    served.send(notification("textDocument/didPartiallyAcceptCompletion", {"item": item, "acceptedLength": 2}))
    assert command(served, "accept", item["command"]["command"], *item["command"]["arguments"])["result"] is None
    command(served, "accept again", item["command"]["command"], *item["command"]["arguments"])
    assert outcomes("done") == {"offered": 1, "shown": 1, "accepted": 1, "partly": 1, "rejected": 0}


def test_acceptance_is_inferred_from_an_edit(served: Wire, outcomes: Outcomes) -> None:
    (item,) = items(served)
    edit(served, 2, CURSOR, item["insertText"])
    assert outcomes("done")["accepted"] == 1
    command(served, "late", item["command"]["command"], *item["command"]["arguments"])
    assert outcomes("once")["accepted"] == 1


def test_typing_or_pasting_elsewhere_does_not_count_as_accepting(served: Wire, outcomes: Outcomes) -> None:
    (item,) = items(served)
    edit(served, 2, CURSOR, item["insertText"][0])
    edit(served, 3, (7, 0), item["insertText"])
    assert outcomes("done")["accepted"] == 0


def test_rejected_suggestions_are_counted(served: Wire, outcomes: Outcomes) -> None:
    (item,) = items(served)
    served.send(notification("starcoder/didReject", {"items": [item]}))
    command(served, "too late", item["command"]["command"], *item["command"]["arguments"])
    assert outcomes("done") == {"offered": 1, "shown": 0, "accepted": 0, "partly": 0, "rejected": 1}


def test_odd_notifications_about_suggestions_are_ignored(served: Wire, outcomes: Outcomes) -> None:
    for params in (None, [], {}, {"item": 3}, {"items": [None]}, {"item": {"command": {}}}):
        served.send(notification("textDocument/didShowCompletion", params), notification("starcoder/didReject", params))
    assert outcomes("still here")["offered"] == 0


# The completion menu


def test_a_client_without_ghost_text_gets_menu_entries(start: Start) -> None:
    wire = start()
    reply = wire.start(SETTINGS, {"textDocument": {}})
    assert "completionProvider" in reply["result"]["capabilities"]
    wire.model_is_loaded()
    wire.open(URI, CODE)
    edit(wire, 2, CURSOR, "op")
    place = {"line": CURSOR[0], "character": CURSOR[1] + 2}
    answer = wire.call("menu", "textDocument/completion", {"textDocument": {"uri": URI}, "position": place})["result"]
    assert answer["isIncomplete"] is True
    first, *others = answer["items"]
    assert first["label"].startswith("op")
    assert first["textEdit"]["newText"].startswith("op")
    assert first["textEdit"]["range"]["start"] == {"line": CURSOR[0], "character": CURSOR[1]}
    assert first["textEdit"]["range"]["end"]["line"] == CURSOR[0]
    assert min(answer["items"], key=lambda entry: entry["sortText"]) == first
    if "\n" in first["textEdit"]["newText"]:
        (line,) = others
        assert first["textEdit"]["newText"].startswith(line["textEdit"]["newText"])
        assert "\n" not in line["textEdit"]["newText"]


def test_without_a_model_the_menu_is_empty(start: Start) -> None:
    wire = start()
    wire.start({**SETTINGS, "model": {"path": "/no/such/model.gguf"}}, {"textDocument": {}})
    wire.open(URI, CODE)
    place = {"line": CURSOR[0], "character": CURSOR[1]}
    answer = wire.call("menu", "textDocument/completion", {"textDocument": {"uri": URI}, "position": place})["result"]
    assert answer == {"isIncomplete": True, "items": []}


def test_with_trigger_invoked_the_menu_is_empty(start: Start) -> None:
    wire = opened(start, {"textDocument": {}}, {**SETTINGS, "trigger": "invoked"})
    place = {"textDocument": {"uri": URI}, "position": {"line": CURSOR[0], "character": CURSOR[1]}}
    for kind in (1, 3):  # an editor calls its own requests while the user types invoked, too
        asked = {**place, "context": {"triggerKind": kind}}
        assert wire.call(kind, "textDocument/completion", asked)["result"]["items"] == []


@pytest.mark.parametrize(
    ("capabilities", "setting", "is_there"),
    [
        (GHOST_TEXT, "auto", False),
        (GHOST_TEXT, "always", True),
        ({"textDocument": {}}, "never", False),
        ({}, "auto", True),
    ],
)
def test_menu_entries_depend_on_the_client_and_the_setting(
    start: Start,
    capabilities: object,
    setting: str,
    is_there: bool,  # noqa: FBT001
) -> None:
    wire = start()
    reply = wire.start({**SETTINGS, "completion": {"asMenuItems": setting}}, capabilities)
    assert ("completionProvider" in reply["result"]["capabilities"]) == is_there


def test_suggestions_begin_with_the_selected_menu_entry(served: Wire) -> None:
    edit(served, 2, CURSOR, "fil")
    selected = {
        "range": {
            "start": {"line": CURSOR[0], "character": CURSOR[1]},
            "end": {"line": CURSOR[0], "character": CURSOR[1] + 3},
        },
        "text": "file_object",
    }
    params = {
        "textDocument": {"uri": URI},
        "position": {"line": CURSOR[0], "character": CURSOR[1] + 3},
        "context": {"triggerKind": AUTOMATIC, "selectedCompletionInfo": selected},
    }
    (item,) = served.call("selected", "textDocument/inlineCompletion", params)["result"]["items"]
    assert item["insertText"].startswith("file_object")
    assert len(item["insertText"]) > len("file_object")
    assert item["range"] == selected["range"]
    assert items(served, "not selected", (CURSOR[0], CURSOR[1] + 3)) is not None


# Status and commands


def test_a_client_with_the_capability_gets_the_status(start: Start) -> None:
    wire = start()
    wire.start(SETTINGS, STATUS)
    wire.model_is_loaded()
    wire.open(URI, CODE)
    items(wire)
    command(wire, "off", "starcoder.toggle")
    statuses = [message["params"] for message in wire.came if message.get("method") == "starcoder/didChangeStatus"]
    kinds = [each["kind"] for each in statuses]
    assert list(dict.fromkeys(kinds)) == ["loading", "ready", "thinking", "off"]
    assert statuses[-1]["model"]


def test_a_client_without_the_capability_gets_no_status(served: Wire) -> None:
    items(served)
    assert not [message for message in served.came if message.get("method") == "starcoder/didChangeStatus"]
    status = command(served, "status", "starcoder.showStatus")["result"]
    assert status["kind"] == "ready"
    assert "models pull" in status["message"]  # the message about the demonstrator


def test_the_command_toggle_turns_suggestions_off_and_on(served: Wire) -> None:
    assert command(served, "off", "starcoder.toggle")["result"] == {"enabled": False}
    assert served.complete("none", URI, *CURSOR)["result"] is None
    assert command(served, "status", "starcoder.showStatus")["result"]["kind"] == "off"
    assert command(served, "on", "starcoder.toggle")["result"] == {"enabled": True}
    assert items(served)


def test_without_suggestions_no_model_is_loaded_until_they_are_turned_on(start: Start) -> None:
    served = start()
    served.start({**SETTINGS, "enabled": False}, {**STATUS, "window": {"workDoneProgress": True}})
    served.until(lambda message: message.get("params", {}).get("kind") == "off")
    status = command(served, "status", "starcoder.showStatus")["result"]
    assert (status["kind"], status["model"]) == ("off", None)
    assert not [message for message in served.came if message.get("params", {}).get("kind") == "loading"]
    served.open(URI, CODE)
    assert served.complete("none", URI, *CURSOR)["result"] is None
    assert not [message for message in served.came if message.get("method") == "window/workDoneProgress/create"]
    assert command(served, "on", "starcoder.toggle")["result"] == {"enabled": True}
    created = served.until(lambda message: message.get("method") == "window/workDoneProgress/create")
    served.send({"jsonrpc": "2.0", "id": created["id"], "result": None})
    served.model_is_loaded()
    assert items(served)


def test_a_model_is_loaded_at_the_users_request_while_suggestions_are_off(start: Start) -> None:
    served = start()
    served.start({**SETTINGS, "enabled": False}, STATUS)
    status = command(served, "load", "starcoder.restartModel")["result"]
    assert status["kind"] == "off"
    assert status["model"]
    command(served, "on", "starcoder.toggle")
    assert command(served, "ready", "starcoder.showStatus")["result"]["kind"] == "ready"


def test_commands_select_another_model_and_restart_it(start: Start, tmp_path: Path) -> None:
    served = opened(start, GHOST_TEXT)
    first = items(served, "first")
    linked = tmp_path / "other.gguf"
    linked.symlink_to(DEMONSTRATOR)
    assert command(served, "select", "starcoder.selectModel", str(linked))["result"]["kind"] == "ready"
    assert items(served, "second")[0]["insertText"] == first[0]["insertText"]
    failed = command(served, "none", "starcoder.selectModel", str(tmp_path / "missing.gguf"))["result"]
    assert failed["kind"] == "error"
    assert "missing.gguf" in failed["message"]
    assert served.complete("no model", URI, *CURSOR)["result"] is None
    command(served, "back", "starcoder.selectModel", str(linked))
    assert command(served, "restart", "starcoder.restartModel")["result"]["kind"] == "ready"
    assert items(served, "third")[0]["insertText"] == first[0]["insertText"]


def test_a_waiting_request_ends_with_its_model(start: Start) -> None:
    wire = opened(start, GHOST_TEXT, {"debounce": {"mode": "fixed", "ms": 300}})
    params = {"textDocument": {"uri": URI}, "position": {"line": 4, "character": 23}, "context": {"triggerKind": 2}}
    wire.send(
        request("waits", "textDocument/inlineCompletion", params),
        request("restart", "workspace/executeCommand", {"command": "starcoder.restartModel"}),
        request("again", "workspace/executeCommand", {"command": "starcoder.restartModel"}),
    )
    assert wire.reply("waits")["result"] is None
    assert wire.reply("again")["result"]["kind"] == "ready"
    assert wire.reply("restart")["result"]["kind"] in ("ready", "loading")
    assert items(wire)


def test_the_command_clear_cache_drops_all_states(served: Wire) -> None:
    items(served, "first")
    assert served.call("held", "starcoder/metrics")["result"]["documents"]
    assert command(served, "clear", "starcoder.clearCache")["result"] is None
    assert not served.call("empty", "starcoder/metrics")["result"]["documents"]
    assert items(served, "second")


def test_the_cache_can_be_cleared_while_the_model_loads(start: Start) -> None:
    wire = start()
    wire.start(SETTINGS, GHOST_TEXT)
    assert command(wire, "clear", "starcoder.clearCache")["result"] is None
    wire.model_is_loaded()


def test_exported_diagnostics_have_no_text_and_no_file_names(served: Wire) -> None:
    items(served)
    text = command(served, "export", "starcoder.exportDiagnostics")["result"]["markdown"]
    assert "starcoder-lsp 0." in text
    assert "max_tokens" in text
    assert "example.py" not in text
    assert "open(path)" not in text


def test_unknown_commands_are_an_error(served: Wire) -> None:
    for name, arguments in (("selectModel", []), ("selectModel", [3]), ("unheardOf", [])):
        odd = command(served, f"{name} {arguments}", f"starcoder.{name}", *arguments)
        assert odd["error"]["code"] == INVALID_PARAMS
    assert items(served)


# Folders and settings


def test_other_files_come_from_the_documents_workspace_folder(start: Start, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "helper.py").write_text(f"def help_{name}(text):\n    return text\n")
    code = "from helper import help_two\n\n\ndef use(text):\n    return help_t\n"
    uri = (tmp_path / "two" / "main.py").as_uri()
    (tmp_path / "two" / "main.py").write_text(code)
    folders = [{"uri": (tmp_path / name).as_uri(), "name": name} for name in ("one", "two")]
    wire = start()
    params = {"capabilities": GHOST_TEXT, "initializationOptions": {"starcoder": SETTINGS}, "processId": None}
    wire.call("initialize", "initialize", {**params, "workspaceFolders": folders[:1]})
    wire.send(notification("initialized", {}))
    wire.model_is_loaded()
    wire.send(notification("workspace/didChangeWorkspaceFolders", {"event": {"added": folders[1:], "removed": []}}))
    wire.open(uri, code)
    place = {"textDocument": {"uri": uri}, "position": {"line": 4, "character": 17}}
    segments = wire.call("explain", "starcoder/explain", place)["result"]["segments"]
    assert "helper.py" in {segment["path"] for segment in segments if segment["kind"] == "snippet"}
    wire.send(notification("workspace/didChangeWorkspaceFolders", {"event": {"added": [], "removed": folders}}))
    assert wire.call("still here", "starcoder/explain", place)["result"]


def test_the_server_registers_for_changes_of_settings(start: Start) -> None:
    wire = start()
    wire.start(SETTINGS, {**GHOST_TEXT, "workspace": {"didChangeConfiguration": {"dynamicRegistration": True}}})
    registered = wire.until(lambda message: message.get("method") == "client/registerCapability")
    (registration,) = registered["params"]["registrations"]
    assert registration["method"] == "workspace/didChangeConfiguration"
    assert registration["registerOptions"] == {"section": "starcoder"}
    wire.send({"jsonrpc": "2.0", "id": registered["id"], "error": {"code": -32601, "message": "no"}})
    wire.model_is_loaded()
    wire.send(request("last", "starcoder/metrics"))
    assert wire.reply("last")["result"]["model"]
