"""Our own time in front of a remote engine: of each answer, all that is not waiting for bytes from the engine's socket.

`python bench/own_time.py TRACE --engine KIND=URL --model GGUF [--as NAME] [--first N] [--edits N]`. The real front
and session serve an editor that writes and reads plain messages. In the session, each read from the engine's connection
is noted with its start and end. *Own* is the time from sending the edit to having the answer, less those reads: parsing
the engine's answer, the HTTP library and the front count as ours. What other threads do during a read is missing from
*own*, so *processor* gives the processor time of both processes meanwhile. `--model` is the file of the vocabulary.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from attrs import define, frozen

from starcoder_lsp.cli.bench.engines import as_layer, with_engine
from starcoder_lsp.cli.bench.served import SETTINGS
from starcoder_lsp.cli.bench.traces import Edit, document_name, edits_of, grouped, read_trace, text_before
from starcoder_lsp.front.framing import Frames, framed
from starcoder_lsp.percentile import percentile
from starcoder_lsp.settings import Settings

READS = "STARCODER_BENCH_READS"
"""The environment variable that names the file in which the session notes its reads."""
LOAD_TIMEOUT_S = 60.0


def front() -> None:
    """Be the front, with a session that notes its reads."""
    from starcoder_lsp.cli.serve import serve
    from starcoder_lsp.front import session_process

    session_process.COMMAND = (sys.executable, __file__, "session")
    serve(None, allow_remote=False, token_file=None)


def session() -> None:
    """Be the session, and note when it waits for the engine, by the clock that all processes share."""
    from httpcore2._backends.anyio import AnyIOStream  # the only place that sees the socket

    from starcoder_lsp.lsp.run import run_session

    reads = Path(os.environ[READS]).open("a", buffering=1)  # noqa: SIM115  until the process ends
    read = AnyIOStream.read

    async def noted_read(self: AnyIOStream, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        started = time.monotonic()
        try:
            return await read(self, max_bytes, timeout)
        finally:
            reads.write(f"{started} {time.monotonic()}\n")

    AnyIOStream.read = noted_read  # type: ignore[method-assign]
    run_session()


@define
class Editor:
    """An editor: plain messages to a server that has answered `initialize`, and their answers."""

    process: subprocess.Popen[bytes]
    frames: Frames
    _n_sent: int = 0

    def tell(self, method: str, params: object) -> None:
        """Send a notification."""
        self._write({"jsonrpc": "2.0", "method": method, "params": params})

    def ask(self, method: str, params: object) -> Any:
        """Send a request, and return its result."""
        self._n_sent += 1
        self._write({"jsonrpc": "2.0", "id": self._n_sent, "method": method, "params": params})
        while True:
            message = self.read()
            if message.get("id") == self._n_sent and "method" not in message:
                return message.get("result")

    def read(self) -> dict[str, Any]:
        """Return the next message."""
        body = self.frames.read()
        if body is None:
            sys.exit("the server ended")
        message: dict[str, Any] = json.loads(body)
        return message

    def _write(self, message: object) -> None:
        self.process.stdin.write(framed(json.dumps(message).encode()))  # type: ignore[union-attr]

    def processes(self) -> list[int]:
        """Return the front's process and the session's."""
        return [self.process.pid, *(child.pid for child in psutil.Process(self.process.pid).children())]


@contextmanager
def serving(settings: dict[str, Any], reads: Path) -> Iterator[Editor]:
    """Start the server and wait until it has its engine."""
    nobody = {"HOME": str(reads.parent), "XDG_CONFIG_HOME": str(reads.parent), "XDG_STATE_HOME": str(reads.parent)}
    process = subprocess.Popen(  # noqa: S603  this file
        [sys.executable, __file__, "front"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        env={**os.environ, **nobody, READS: str(reads)},
    )
    editor = Editor(process, Frames(process.stdout.read))  # type: ignore[union-attr]
    try:
        capabilities = {"general": {"positionEncodings": ["utf-32"]}, "experimental": {"starcoder": {"status": True}}}
        editor.ask(
            "initialize",
            {"processId": os.getpid(), "capabilities": capabilities, "initializationOptions": {"starcoder": settings}},
        )
        editor.tell("initialized", {})
        while (message := editor.read()).get("method") != "starcoder/didChangeStatus" or (
            message["params"]["kind"] == "loading"
        ):
            if message.get("method") == "window/showMessage" and message["params"]["type"] == 1:
                sys.exit(message["params"]["message"])
        yield editor
    finally:
        process.kill()
        process.wait()


@frozen
class Measured:
    """One answer: when it was asked for and when it came, and the processor time of our processes in between."""

    sent_s: float
    came_s: float
    processor_ms: float
    is_shown: bool

    def own_ms(self, reads: Iterable[tuple[float, float]]) -> tuple[float, float]:
        """Return its own time and the time in reads."""
        waited_s = sum(max(0.0, min(end, self.came_s) - max(start, self.sent_s)) for start, end in reads)
        return (self.came_s - self.sent_s - waited_s) * 1000, waited_s * 1000


def processor_ms(processes: Iterable[int]) -> float:
    """Return the processor time of processes so far: that of each of their threads, in nanoseconds by the kernel."""
    paths = (path for process in processes for path in Path(f"/proc/{process}/task").glob("*/schedstat"))
    return sum(int(path.read_text().split()[0]) for path in paths) / 1e6


def play(editor: Editor, uri: str, edits: Iterable[Edit]) -> list[tuple[bool, Measured]]:
    """Send each edit with a request, and wait for the answer."""
    measured, processes = [], editor.processes()
    for version, edit in enumerate(edits, 2):
        changes = [
            {
                "range": {
                    "start": {"line": c.start_line, "character": c.start_character},
                    "end": {"line": c.end_line, "character": c.end_character},
                },
                "text": c.text,
            }
            for c in edit.changes
        ]
        position = {"line": edit.line, "character": edit.character}
        asked = {"textDocument": {"uri": uri}, "position": position, "context": {"triggerKind": 2}}
        before_ms, sent_s = processor_ms(processes), time.monotonic()
        changed = {"textDocument": {"uri": uri, "version": version}, "contentChanges": changes}
        editor.tell("textDocument/didChange", changed)
        reply = editor.ask("textDocument/inlineCompletion", asked)
        came_s = time.monotonic()
        used_ms = processor_ms(processes) - before_ms
        measured.append((edit.is_typing, Measured(sent_s, came_s, used_ms, bool(reply and reply.get("items")))))
    return measured


def main() -> None:
    """Replay and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--engine", required=True, help="KIND=URL")
    parser.add_argument("--model", required=True)
    parser.add_argument("--as", dest="name")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--edits", type=int, default=400)
    arguments = parser.parse_args()
    trace = read_trace(arguments.trace)
    uri = f"file:///replayed/{document_name(trace, arguments.name)}"
    settings = {**SETTINGS, "engine": as_layer(with_engine(Settings(), arguments.engine, arguments.model).engine)}
    with tempfile.TemporaryDirectory() as folder:
        reads = Path(folder) / "reads"
        reads.touch()
        with serving(settings, reads) as editor:
            text = text_before(trace, arguments.first)
            document = {"uri": uri, "languageId": "", "version": 1, "text": text}
            editor.tell("textDocument/didOpen", {"textDocument": document})
            rows = play(editor, uri, edits_of(trace, arguments.first, arguments.edits))
        reads_noted = reads.read_text().splitlines()
    report(rows, [(float(start), float(end)) for start, end in map(str.split, reads_noted)])


def report(rows: Sequence[tuple[bool, Measured]], reads: Sequence[tuple[float, float]]) -> None:
    """Print the figures of each group of edits."""
    timed = []
    for is_typing, each in rows:
        near = [(start, end) for start, end in reads if end > each.sent_s and start < each.came_s]
        timed.append((is_typing, (each, *each.own_ms(near))))
    groups = grouped(timed)
    groups["asked the engine"] = [row for row in groups["all"] if row[2] > 0]
    for name, group in groups.items():
        if not group:
            continue
        n_shown = sum(each.is_shown for each, *_ in group)
        figures = {
            "own": [own for _, own, _ in group],
            "waiting": [waited for *_, waited in group],
            "processor": [each.processor_ms for each, *_ in group],
        }
        spelled = "; ".join(f"{what} {_spelled(ms)}" for what, ms in figures.items())
        print(f"{name:17}{len(group):5} edits, {n_shown} with ghost text; ms p50, p95: {spelled}")


def _spelled(times_ms: list[float]) -> str:
    return f"{percentile(times_ms, 0.5):.2f}, {percentile(times_ms, 0.95):.2f}"


if __name__ == "__main__":
    {"front": front, "session": session}.get(sys.argv[1] if len(sys.argv) > 1 else "", main)()
