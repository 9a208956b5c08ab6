"""States of documents on disk, which the next server uses."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Wire, completion_params, notification, request

URI = "file:///code/example.py"
CODE = "".join(f"value_{n} = compute({n}, 'text number {n}')\n" for n in range(60))
SETTINGS = {
    "debounce": {"mode": "off"},
    "completion": {"maxTokens": 4, "timeoutMs": 120_000},
    "context": {"maxPrefillMs": 120_000},
    "cache": {"diskMiB": 64},
}
"""With these limits, windows do not depend on the machine's speed, so two runs have equal ones."""


@pytest.mark.parametrize("ends_by_closing", [True, False])
def test_the_next_server_finds_the_state_of_a_document(
    wire: Callable[..., Wire], tmp_path: Path, *, ends_by_closing: bool
) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    texts = []
    for run in (1, 2):
        server = wire(env=environment)
        server.start(SETTINGS)
        server.model_is_loaded()
        if run == 2:
            (document,) = server.call("before", "starcoder/metrics")["result"]["documents"]
            assert (document["uri"], document["where"]) == (URI, "disk")
        server.open(URI, CODE)
        texts.append([item["insertText"] for item in server.complete(1, URI, 40, 20)["result"]["items"]])
        tokens = server.call("after", "starcoder/metrics")["result"]["tokens"]
        assert tokens["evaluated"] > 500 if run == 1 else tokens["evaluated"] == 1
        if ends_by_closing:
            server.send(notification("textDocument/didClose", {"textDocument": {"uri": URI}}))
        assert server.stop() == 0
        assert server.errors == []
    assert texts[0] == texts[1]
    (states,) = tmp_path.rglob("states")
    assert stat.S_IMODE(states.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in states.iterdir()} == {0o600}


def test_after_a_jump_fewer_tokens_are_evaluated_if_moved_text_is_reused(
    wire: Callable[..., Wire], tmp_path: Path
) -> None:
    n_evaluated = {}
    for reuses_moved in (False, True):
        server = wire(env={"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)})
        server.start({**SETTINGS, "trigger": "invoked", "cache": {"reuseMoved": reuses_moved}})
        server.model_is_loaded()
        server.open(URI, CODE)
        server.complete(1, URI, 40, 20)
        before = server.call(2, "starcoder/metrics")["result"]["tokens"]["evaluated"]
        assert server.complete(3, URI, 34, 20)["result"] is not None
        n_evaluated[reuses_moved] = server.call(4, "starcoder/metrics")["result"]["tokens"]["evaluated"] - before
        assert server.stop() == 0
    assert n_evaluated[True] < n_evaluated[False] / 2


def test_without_statistics_no_text_is_written_by_default(wire: Callable[..., Wire], tmp_path: Path) -> None:
    server = wire(env={"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)})
    server.start({"debounce": {"mode": "off"}, "stats": {"enabled": False}})
    server.model_is_loaded()
    server.open(URI, CODE)
    server.complete(1, URI, 40, 20)
    assert server.stop() == 0
    (written,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert written.name == "hosts.json"  # the options of the model's process
    assert written.stat().st_size < 2000
    assert not any(word in written.read_text() for word in (URI, "def ", "return"))


def test_the_server_ends_in_time_while_the_model_works(wire: Callable[..., Wire], tmp_path: Path) -> None:
    """The evaluated tokens are written to disk, and the process ends within its two seconds."""
    server = wire(env={"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)})
    server.start(SETTINGS | {"completion": {"maxTokens": 1024, "multiline": "always"}})
    server.model_is_loaded()
    server.open(URI, CODE)
    server.send(request("long", "textDocument/inlineCompletion", completion_params(URI, 59, 3)))
    n_tokens = n = 0
    while n_tokens < 200:
        n += 1
        n_tokens = sum(d["tokens"] for d in server.call(n, "starcoder/metrics")["result"]["documents"])
    server.send(request("shutdown", "shutdown"), notification("exit"))
    assert server.exit_code() == 0
    assert list(tmp_path.rglob("states/*"))
