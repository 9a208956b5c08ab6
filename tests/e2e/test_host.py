"""The model's process: the server has no llama.cpp in it, and survives every crash of the host."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from starcoder_lsp.engine.prompt_model import PromptModel
from tests.host.conftest import CRASHING

from .conftest import CODE, CURSOR, ENVIRONMENT, ROOT, SERVER, TIMEOUT_S, URI, Wire, completion_params, request

Start = Callable[..., Wire]
NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux shows a process' libraries")


def sessions_of(server: Wire) -> list[str]:
    """Return the process ids of the front's children."""
    threads = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    return [child for thread in threads for child in thread.read_text().split()]


def host_of(server: Wire) -> int:
    """Return the process id of a server's own host, whose name contains the session's process id."""
    while True:
        sessions = sessions_of(server)
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if b"host" in words and any(f"-{pid}-".encode() in word for word in words for pid in sessions):
                return int(path.parent.name)


def crashing(tmp_path: Path, where: str) -> dict[str, str]:
    """Return an environment in which hosts crash, with its own folder for the record of crashes."""
    return {
        "PYTHONPATH": f"{CRASHING}:{ROOT}",
        "CRASH": where,
        "STARTS": str(tmp_path / "starts"),
        "XDG_STATE_HOME": str(tmp_path),
    }


@NEEDS_PROC
def test_the_servers_process_has_no_llama_cpp(wire: Start) -> None:
    server = wire()
    server.start()
    server.model_is_loaded()
    server.open(URI, CODE)
    assert server.complete(1, URI, *CURSOR)["result"]["items"]
    pids = (server.process.pid, *sessions_of(server), host_of(server))
    libraries = [Path(f"/proc/{pid}/maps").read_text() for pid in pids]
    assert ["libllama" in each or "libggml" in each for each in libraries] == [False, False, True]
    assert server.stop() == 0


@NEEDS_PROC
def test_a_killed_host_costs_one_null_and_suggestions_resume(wire: Start) -> None:
    server = wire()
    server.start()
    server.model_is_loaded()
    server.open(URI, CODE)
    expected = server.complete("first", URI, *CURSOR)["result"]["items"][0]["insertText"]
    for number in range(5):
        host, version = host_of(server), number + 2
        document = {"uri": URI, "version": version}
        change = {"text": CODE + "#" * number}
        server.send(
            {"jsonrpc": "2.0", "method": "textDocument/didChange"}
            | {"params": {"textDocument": document, "contentChanges": [change]}},
            request(f"lost {number}", "textDocument/inlineCompletion", completion_params(URI, *CURSOR)),
        )
        os.kill(host, signal.SIGKILL)
        server.reply(f"lost {number}")
        items: list[dict[str, Any]] = []
        n_asked = 0
        while not items:
            n_asked += 1
            result = server.complete(f"{number} {n_asked}", URI, *CURSOR)["result"]
            items = result["items"] if result else []
        assert items[0]["insertText"] == expected
    assert server.stop() == 0
    ids = [message["id"] for message in server.came if "id" in message and "method" not in message]
    assert len(ids) == len(set(ids)), "each request has one reply"
    assert server.errors == []


def test_a_crash_while_the_model_loads_is_reported_once(wire: Start, tmp_path: Path) -> None:
    for starts in (1, 2):
        server = wire(env=crashing(tmp_path, "warming up/SIGSEGV/1"))
        server.start()
        server.model_is_loaded()
        server.open(URI, CODE)
        assert server.complete(1, URI, *CURSOR)["result"]["items"]
        assert server.stop() == 0
        shown = [m["params"]["message"] for m in server.came if m.get("method") == "window/showMessage"]
        assert len(shown) == (starts == 1)
        assert all("SIGSEGV" in message and "AMX" in message for message in shown)
    assert (tmp_path / "starts").read_text().count("start") == 3


def test_if_llama_cpp_cannot_run_the_server_reports_it_and_goes_on(wire: Start, tmp_path: Path) -> None:
    server = wire(env=crashing(tmp_path, "importing/SIGILL/9"))
    server.start()
    message = server.until(lambda each: each.get("method") == "window/showMessage")["params"]
    assert message["type"] == 1
    assert "SIGILL" in message["message"]
    assert "--no-cache-dir" in message["message"]
    server.open(URI, CODE)
    assert server.complete(1, URI, *CURSOR)["result"] is None
    assert server.stop() == 0


COMMANDS = [
    ["complete", f"{ROOT}/starcoder_lsp/completion.py:90:1"],
    ["eval", f"{ROOT}/starcoder_lsp/completion.py", "--holes", "2"],
    ["bench", "context", f"{ROOT}/starcoder_lsp/lsp", "--holes", "2"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("stage", ["importing", "decoding"])
def test_commands_end_when_the_host_dies(prompts: PromptModel, tmp_path: Path, command: list[str], stage: str) -> None:
    (poison,) = prompts.tokenizer.encode(b"(")
    where = f"decoding={poison}/SIGSEGV/9" if stage == "decoding" else "importing/SIGILL/9"
    ran = subprocess.run(  # noqa: S603  our own program
        [*SERVER, *command],
        env={**ENVIRONMENT, **crashing(tmp_path, where)},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    (line,) = ran.stderr.splitlines()
    assert ("SIGSEGV" if stage == "decoding" else "SIGILL") in line


@pytest.mark.parametrize("command", COMMANDS[:1], ids=["complete"])
def test_commands_name_the_features_turned_off(tmp_path: Path, command: list[str]) -> None:
    ran = subprocess.run(  # noqa: S603  our own program
        [*SERVER, *command],
        env={**ENVIRONMENT, **crashing(tmp_path, "loading/SIGSEGV/1")},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert ran.returncode == 0
    (line,) = ran.stderr.splitlines()
    assert "AMX" in line
