"""`starcoder-lsp bench compare TRACE --llama-server PATH --model FILE`: llama.cpp's own server beside this one.

The same edits, the same model file, as many threads. After each edit both are asked for one token, by turns the one or
the other first; who is not asked is stopped meanwhile. llama-server gets what the plugin llama.vim sends to `/infill`:
https://github.com/ggml-org/llama.vim, `autoload/llama.vim`, `s:fim_ctx_local` and `llama#fim`.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import fmean
from typing import IO, Any

from attrs import frozen
from rich.table import Table

from starcoder_lsp.cli import CommandError
from starcoder_lsp.cli.figures import machine, model_file, page, percentile, watched
from starcoder_lsp.cli.replay import SETTINGS, replaying, where_and_what
from starcoder_lsp.cli.traces import Edit, check_range, edits_of, grouped, read_trace, text_before

LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 300.0
ANSWER_TIMEOUT_S = 600.0
N_BATCH = 1920
"""`/infill` keeps three quarters of `-b` tokens before the cursor's line and a quarter of the rest: 1,440 + 480."""
N_CONTEXT = 4096
N_PREFIX_LINES = 256
N_SUFFIX_LINES = 64
"""llama.vim's defaults."""
PR_SET_PDEATHSIG = 1


@frozen
class Turn:
    """One answer: the time to its first token, and the prompt tokens behind it."""

    elapsed_ms: float
    n_evaluated: int
    n_reused: int


@frozen
class Peer:
    """A running llama-server."""

    program: Path
    process: subprocess.Popen[bytes]
    port: int
    log: IO[bytes]

    def error(self, what: str) -> CommandError:
        """What to say when the server fails; what it logged last, if it has ended."""
        with suppress(subprocess.TimeoutExpired):  # a connection may be lost a little earlier than the process
            code = self.process.wait(1)
            self.log.seek(0)
            lines = self.log.read().decode("utf-8", "replace").split("\n")
            what = f"ended with code {code}: {next((line for line in lines[::-1] if line.strip()), 'it said nothing')}"
        return CommandError(f"{self.program} {' '.join(what.split())}")


def arguments(program: Path, model: Path, n_threads: int) -> list[str]:
    """The command line of llama-server: prompt cache, reuse of shifted chunks, one slot."""
    options = {"-b": N_BATCH, "-c": N_CONTEXT, "-t": n_threads, "--cache-reuse": 256, "--parallel": 1}
    return [str(program), "-m", str(model), *(str(part) for option in options.items() for part in option)]


@contextmanager
def llama_server(command: Sequence[str]) -> Iterator[Peer]:
    """Start llama-server on a free port and wait until it has its model. It ends with this process.

    Raises `CommandError` if it cannot be started, ends, or is not ready in time.
    """
    program = Path(command[0])
    with socket.create_server((LOOPBACK, 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(  # noqa: S603  the person names the program
                [*command, "--host", LOOPBACK, "--port", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509  no other threads yet
            )
        except OSError as error:
            message = f"{program} cannot be started: {error.strerror or error}"
            raise CommandError(message) from error
        peer = Peer(program, process, port, log)
        try:
            _wait_until_ready(peer)
            yield peer
        finally:
            process.kill()
            process.wait()


def _end_with_parent() -> None:
    """Let the kernel end this process when its parent has ended, in whatever way."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_until_ready(peer: Peer) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        with suppress(OSError, HTTPException):
            if _exchange(peer, "GET", "/health")[0] == 200:  # noqa: PLR2004  OK; 503 while the model loads
                return
        if peer.process.poll() is not None or time.monotonic() > deadline:
            what = f"was not ready after {START_TIMEOUT_S:.0f} s"
            raise peer.error(what)
        time.sleep(0.1)


def _exchange(peer: Peer, method: str, path: str, body: object = None) -> tuple[int, bytes, float]:
    """One request: status, body, and milliseconds. A connection each: llama-server drops one that rests for 5 s."""
    connection = HTTPConnection(LOOPBACK, peer.port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.connect()
        started = time.perf_counter()
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read(), (time.perf_counter() - started) * 1000
    finally:
        connection.close()


def infill(text: str, line: int, character: int) -> dict[str, object]:
    """llama.vim's request for a cursor, with one token to write, the likeliest, and no chunks of other places."""
    lines = text.split("\n")
    current = lines[line]
    head, tail = (current[:character], current[character:]) if current.strip() else ("", "")
    above, below = lines[max(0, line - N_PREFIX_LINES) : line], lines[line + 1 : line + 1 + N_SUFFIX_LINES]
    return {
        "id_slot": 0,
        "input_prefix": "\n".join(above) + "\n",
        "input_suffix": f"{tail}\n" + "\n".join(below) + "\n",
        "input_extra": [],
        "prompt": head,
        "n_predict": 1,
        "stop": [],
        "n_indent": len(current) - len(current.lstrip()) if head or tail else 0,
        "top_k": 1,
        "top_p": 0.99,
        "temperature": 0.0,
        "samplers": ["top_k", "top_p", "infill"],
        "stream": False,
        "cache_prompt": True,
        "t_max_prompt_ms": 500,
        "t_max_predict_ms": 1000,
    }


def ask(peer: Peer, edit: Edit) -> Turn:
    """Ask llama-server after an edit. Raises `CommandError` if it gives no answer, or one without its token counts."""
    try:
        status, body, elapsed_ms = _exchange(peer, "POST", "/infill", infill(edit.text, edit.line, edit.character))
        answer = json.loads(body)
        if status == 200:  # noqa: PLR2004  OK
            timings = answer["timings"]
            return Turn(elapsed_ms, int(timings["prompt_n"]), int(timings["cache_n"]))
        what = f"answered: {answer['error']['message']}"
    except (OSError, HTTPException) as error:
        what = f"gave no answer: {error}"
    except (ValueError, KeyError, TypeError):
        what = "gave an answer without timings.prompt_n and timings.cache_n; another version may"
    raise peer.error(what)


@contextmanager
def stopped(process_id: int) -> Iterator[None]:
    """Stop a process meanwhile: two servers at work at once would measure each other."""
    with suppress(ProcessLookupError):
        os.kill(process_id, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGCONT)


async def play(
    text: str, edits: Iterable[Edit], settings: Mapping[str, Any], model: Path, peer: Peer
) -> list[tuple[bool, tuple[Turn, Turn]]]:
    """Ask both after each edit: whether it was typing, our turn, and the peer's."""
    turns = []
    async with replaying(text, settings, model) as (client, uri):

        async def ours(edit: Edit) -> Turn:
            with stopped(peer.process.pid):
                answer = await client.complete(uri, edit.line, edit.character, edit.changes)
            return Turn(answer.elapsed_ms, answer.n_evaluated, answer.n_reused)

        def theirs(edit: Edit) -> Turn:
            with stopped(client.process_id):
                return ask(peer, edit)

        for number, edit in enumerate(edits):
            if number % 2:
                second = theirs(edit)
                first = await ours(edit)
            else:
                first = await ours(edit)
                second = theirs(edit)
            turns.append((edit.is_typing, (first, second)))
    return turns


def figures(pairs: Sequence[tuple[Turn, Turn]]) -> dict[str, Any]:
    """A group of edits: both servers' figures, and how many of our medians fit into the peer's."""
    if not pairs:
        return {"edits": 0}
    ours, theirs = zip(*pairs, strict=True)
    ratio = _median_ms(theirs) / _median_ms(ours)
    return {"edits": len(pairs), "ours": _row(ours), "llamaServer": _row(theirs), "ratioOfMedians": round(ratio, 1)}


def _row(turns: Sequence[Turn]) -> dict[str, float]:
    return {
        "firstTokenMsP50": round(_median_ms(turns), 1),
        "firstTokenMsP95": round(percentile([turn.elapsed_ms for turn in turns], 0.95), 1),
        "evaluatedMean": round(fmean(turn.n_evaluated for turn in turns), 2),
        "reusedMean": round(fmean(turn.n_reused for turn in turns), 2),
    }


def _median_ms(turns: Sequence[Turn]) -> float:
    return percentile([turn.elapsed_ms for turn in turns], 0.5)


def compare(path: Path, *, llama_server_path: Path, model: str, first: int, n_edits: int, as_json: bool) -> int:
    """Run both and report."""
    from starcoder_lsp.engine.llama import default_n_threads

    trace = read_trace(path)
    n_edits = check_range(trace, path, first, n_edits)
    checked = model_file(model)
    n_threads = default_n_threads(checked.n_bytes)
    settings = SETTINGS | {"completion": {"maxTokens": 1}, "model": {"threads": n_threads}}
    command = arguments(llama_server_path, checked.path, n_threads)
    edits = watched(edits_of(trace, first, n_edits), n_edits, "comparing")
    with llama_server(command) as peer:
        turns = asyncio.run(play(text_before(trace, first), edits, settings, checked.path, peer))
    report = {
        "trace": path.name,
        "first": first,
        "machine": machine(),
        "model": {"name": checked.name, "bytes": checked.n_bytes},
        "settings": settings,
        "llamaServer": command[3:],
        "edits": {name: figures(pairs) for name, pairs in grouped(turns).items()},
    }
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        page().print(table_of(report))
    return 0


def table_of(report: Mapping[str, Any]) -> Table:
    """The report for a terminal."""
    n_threads = report["settings"]["model"]["threads"]
    table = Table(
        title="Time from the edit to the first token",
        caption=f"{where_and_what(report)}, threads each: {n_threads}; llama-server {' '.join(report['llamaServer'])}",
        caption_justify="left",
    )
    table.add_column("edits")
    table.add_column("server")
    for name in ("number", "ms, p50", "ms, p95", "evaluated, mean", "reused, mean", "ratio of p50"):
        table.add_column(name, justify="right")
    for name, group in report["edits"].items():
        for key, server in (("ours", "starcoder-lsp"), ("llamaServer", "llama-server")):
            row = [f"{value:,}" for value in group.get(key, {}).values()] or [""] * 4
            ratio = f"{group['ratioOfMedians']:,}" if key == "llamaServer" and key in group else ""
            table.add_row(name, server, f"{group['edits']:,}", *row, ratio)
    return table
