"""Measure start-up times in milliseconds: `python bench/startup.py`.

The first is from process start to the reply to `initialize`, the second one whole `starcoder-lsp complete`. `make
bench` runs it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
N_RUNS = 5
ASKED_AT = "    started = time.perf_counter()"
"""The line of the file in which a completion is requested, before its last bracket."""
SERVER = [sys.executable, "-m", "starcoder_lsp"]
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"processId": None, "rootUri": None, "capabilities": {}},
}


def framed(message: dict[str, object]) -> bytes:
    """Return a message with its header."""
    body = json.dumps(message).encode()
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def initialize_ms() -> float:
    """Return the milliseconds from the process' start to the first byte of its answer to `initialize`."""
    started = time.perf_counter()
    with subprocess.Popen(SERVER, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603  ours
        if process.stdin is None or process.stdout is None:
            raise RuntimeError
        process.stdin.write(framed(INITIALIZE))
        process.stdin.flush()
        process.stdout.read(1)
        elapsed_ms = (time.perf_counter() - started) * 1000
        process.kill()
    return elapsed_ms


def complete_ms() -> float:
    """Return the milliseconds of one `complete --json`, start-up and loading included."""
    path = ROOT / "starcoder_lsp/completion.py"
    line = path.read_text().splitlines().index(ASKED_AT) + 1
    place = f"{path}:{line}:{len(ASKED_AT) - 1}"
    started = time.perf_counter()
    subprocess.run([*SERVER, "complete", place, "--json"], check=True, stdout=subprocess.PIPE)  # noqa: S603  ours
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
        ("process start to the reply to initialize", initialize_ms, "600"),
        ("starcoder-lsp complete --json, all of it", complete_ms, "2000"),
    ]
    for name, measure, goal in measures:
        measure()  # the first run fills the file cache
        times = sorted(measure() for _ in range(N_RUNS))
        table.add_row(name, *(f"{t:.0f}" for t in (times[0], median(times), times[-1])), goal)
    Console().print(table)


if __name__ == "__main__":
    main()
