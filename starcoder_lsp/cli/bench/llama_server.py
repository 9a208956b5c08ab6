"""llama.cpp's own server as a child process, with the requests of the plugin llama.vim.

The request to `/infill`: https://github.com/ggml-org/llama.vim, `autoload/llama.vim`, `s:fim_ctx_local`, `llama#fim`.
"""

from __future__ import annotations

import ctypes
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO

from attrs import frozen

from starcoder_lsp.cli import CommandError
from starcoder_lsp.cli.bench.traces import Edit

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
    """One answer: the time to its first token, and its prompt tokens."""

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
        """Return the error of a failed server, with its last log line if it has ended."""
        with suppress(subprocess.TimeoutExpired):  # the connection may end a little before the process
            code = self.process.wait(1)
            self.log.seek(0)
            lines = self.log.read().decode("utf-8", "replace").split("\n")
            what = f"ended with code {code}: {next((line for line in lines[::-1] if line.strip()), 'it said nothing')}"
        return CommandError(f"{self.program} {' '.join(what.split())}")


def arguments(program: Path, model: Path, n_threads: int, n_batch: int = N_BATCH) -> list[str]:
    """Return the command line of llama-server: prompt cache, reuse of shifted chunks, one slot."""
    options = {"-b": n_batch, "-c": N_CONTEXT, "-t": n_threads, "--cache-reuse": 256, "--parallel": 1}
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
            process = subprocess.Popen(  # noqa: S603  the user names the program
                [*command, "--host", LOOPBACK, "--port", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in a terminal is this program's alone
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
    """Have the kernel end this process when its parent ends."""
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
    """Send a request; return status, body and milliseconds. llama-server closes idle connections after 5 s."""
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
    """Return llama.vim's request for a cursor: one token, the likeliest, without chunks of other places."""
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
    """Request a token after an edit. Raises `CommandError` without an answer, or without its token counts."""
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
