"""Measure start-up times in milliseconds: `python bench/startup.py`.

From process start to the reply to `initialize`; to the first suggestion, for an editor that asks at once and again
after each reply without one; and one whole `starcoder-lsp complete`. No host is running before, and each was started
once, so that its host is recorded. `make bench` runs it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, BinaryIO

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
N_RUNS = 5
ASKED_AT = "    started = time.perf_counter()"
"""The line of the file in which a completion is requested, before its last bracket."""
PATH = ROOT / "starcoder_lsp/completion.py"
SERVER = [sys.executable, "-m", "starcoder_lsp"]
OWN = tempfile.TemporaryDirectory(prefix="slsp-")
ENVIRONMENT = {**os.environ, "XDG_RUNTIME_DIR": OWN.name, "XDG_STATE_HOME": OWN.name}
"""No host of the user's own is joined."""
PAUSE_S = 0.01
"""Between a reply without a suggestion and the next request."""
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": "initialize",
    "method": "initialize",
    "params": {
        "processId": None,
        "rootUri": None,
        "clientInfo": {"name": "bench"},
        "initializationOptions": {"host": {"idleMinutes": 0}},
        "capabilities": {"workspace": {"configuration": True}, "textDocument": {"inlineCompletion": {}}},
    },
}


def framed(message: dict[str, object]) -> bytes:
    """Return a message with its header."""
    body = json.dumps(message).encode()
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


class Server:
    """A server process, without a host before and after it."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.process = subprocess.Popen(  # noqa: S603  ours
            SERVER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT
        )
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError
        self.input: BinaryIO = self.process.stdin  # type: ignore[assignment]
        self.output: BinaryIO = self.process.stdout  # type: ignore[assignment]

    def send(self, *messages: dict[str, object]) -> None:
        """Send messages in one write."""
        self.input.write(b"".join(framed({"jsonrpc": "2.0", **message}) for message in messages))
        self.input.flush()

    def read(self) -> dict[str, Any]:
        """Return the next message. Raises `EOFError`."""
        header = self.output.readline()
        if not header:
            raise EOFError
        while self.output.readline().strip():
            pass
        message: dict[str, Any] = json.loads(self.output.read(int(header.split(b":")[1])))
        return message

    def end_ms(self) -> float:
        """Return the milliseconds since the start; end the server and wait until its host has ended."""
        elapsed_ms = (time.perf_counter() - self.started) * 1000
        self.process.kill()
        self.process.wait()
        wait_for_no_host()
        return elapsed_ms


def wait_for_no_host() -> None:
    """Wait until the hosts have ended and removed their files."""
    while list(Path(OWN.name, "starcoder-lsp").glob("*.lock")):
        time.sleep(PAUSE_S)


def initialize_ms() -> float:
    """Return the milliseconds from the process' start to its reply to `initialize`."""
    server = Server()
    server.send(INITIALIZE)
    server.read()
    return server.end_ms()


def first_suggestion_ms() -> float:
    """Return the milliseconds from the process' start to its first reply with a suggestion."""
    text = PATH.read_text()
    uri, line = PATH.as_uri(), text.splitlines().index(ASKED_AT)
    document = {"uri": uri, "languageId": "python", "version": 1, "text": text.replace(ASKED_AT, ASKED_AT[:-1], 1)}
    position = {"line": line, "character": len(ASKED_AT) - 1}
    params = {"textDocument": {"uri": uri}, "position": position, "context": {"triggerKind": 1}}
    ask: dict[str, object] = {"id": "ask", "method": "textDocument/inlineCompletion", "params": params}
    server = Server()
    server.send(INITIALIZE)
    while message := server.read():
        if message.get("id") == "initialize":
            opened = {"method": "textDocument/didOpen", "params": {"textDocument": document}}
            server.send({"method": "initialized", "params": {}}, opened, ask)
        elif "method" in message and "id" in message:
            is_settings = message["method"] == "workspace/configuration"
            server.send({"id": message["id"], "result": [None] if is_settings else None})
        elif message.get("id") == "ask":
            if (message.get("result") or {}).get("items"):
                return server.end_ms()
            time.sleep(PAUSE_S)
            server.send(ask)
    raise EOFError


def complete_ms() -> float:
    """Return the milliseconds of one `complete --json`, start-up and loading included."""
    line = PATH.read_text().splitlines().index(ASKED_AT) + 1
    command = [*SERVER, "complete", f"{PATH}:{line}:{len(ASKED_AT) - 1}", "--json"]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.PIPE, env=ENVIRONMENT)  # noqa: S603  ours
    return (time.perf_counter() - started) * 1000


def import_ms() -> float:
    """Return the milliseconds of a Python process that imports nothing, for comparison."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return (time.perf_counter() - started) * 1000


def main() -> None:
    """Print the table."""
    table = Table(title=f"Start-up, {N_RUNS} runs, milliseconds")
    for name in ("", "minimum", "median", "maximum", "goal"):
        table.add_column(name, justify="left" if not name else "right")
    measures: list[tuple[str, Callable[[], float], str]] = [
        ("an empty Python process", import_ms, ""),
        ("process start to the reply to initialize", initialize_ms, "350"),
        ("process start to the first suggestion", first_suggestion_ms, "1000"),
        ("starcoder-lsp complete --json, all of it", complete_ms, "1000"),
    ]
    for name, measure, goal in measures:
        measure()  # the first run fills the file cache, and records the host
        times = sorted(measure() for _ in range(N_RUNS))
        table.add_row(name, *(f"{t:.0f}" for t in (times[0], median(times), times[-1])), goal)
    Console().print(table)


if __name__ == "__main__":
    main()
