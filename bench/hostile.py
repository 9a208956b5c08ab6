"""Measure answers in texts that are made to be slow: `python bench/hostile.py [--json FILE] [--only NAME]`.

Types a character at the middle and at the end of each text, and requests a suggestion of the real pipeline there, with
the demonstrator. The answer may take `completion.timeoutMs` and 100 ms. Meanwhile a task on the event loop wakes each
millisecond: the longest time between two wakes, in milliseconds, is the longest block of the loop, the edit included.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import time
from pathlib import Path

from attrs import asdict, define, frozen

from starcoder_lsp.cli import warn
from starcoder_lsp.cli.bench.eval import pipeline
from starcoder_lsp.cli.bench.figures import machine
from starcoder_lsp.cli.complete import configured
from starcoder_lsp.documents.documents import Documents, Edit
from starcoder_lsp.documents.workspace import WorkspaceContext
from starcoder_lsp.engine.loading import Listeners, opened
from starcoder_lsp.prompting import Model

MAX_LATE_MS, MAX_HELD_MS = 100, 20
WARM_UP = "def add(a, b):\n    return a + "


def filled(unit: str, n_bytes: int) -> str:
    """Return a unit again and again, up to a number of bytes."""
    return unit * (n_bytes // len(unit))


TEXTS = {
    "a line of 4 MB, JavaScript": ("javascript", filled("a=b+(c);", 4_000_000)),
    "a line of 4 MB, Python": ("python", "x = [" + filled("1, ", 4_000_000) + "]\n"),
    "a line of 4 MB, plain text": ("plaintext", filled("word ", 4_000_000)),
    "10,000 brackets": ("python", "x = " + "(" * 10_000 + ")" * 10_000 + "\n"),
    "10,000 open brackets": ("javascript", "x = " + "(" * 10_000),
    "10,000 lines of open brackets": ("c", "f(\n" * 10_000),
    "200 KB of /*, shell": ("shellscript", "cp " + filled("a/*.c ", 200_000)),
    "200 KB of /*, JavaScript": ("javascript", filled("/*", 200_000)),
    "200 KB of /* on lines, C": ("c", filled("/*\n", 200_000)),
    "200 KB of quotes, Python": ("python", "x = " + filled("'\"", 200_000)),
    "200 KB of quotes, JavaScript": ("javascript", filled("`'\"", 200_000)),
    "200 KB of quotes on lines, PHP": ("php", "<?php\n" + filled("'\n", 200_000)),
}


@frozen
class Asked:
    """One request: the milliseconds until its answer, and the longest block of the event loop meanwhile."""

    text: str
    place: str
    elapsed_ms: float
    held_ms: float
    edit_ms: float
    reason: str


@define
class Ticker:
    """A task that wakes each millisecond and keeps the longest time between two wakes."""

    held_ms: float = 0.0

    async def run(self) -> None:
        """Run until cancelled."""
        before = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            self.held_ms = max(self.held_ms, (now - before) * 1000 - 1)
            before = now


async def ask_at(name: str, language: str, text: str, share: float, ask: object) -> Asked:
    """Open a text, type one character and request a suggestion behind it, with a clock on the event loop."""
    documents = Documents()
    uri = "file:///hostile"
    documents.open(uri, language, 1, text)
    head = text[: int(len(text) * share)]
    line, character = head.count("\n"), len(head.rpartition("\n")[2])
    await asyncio.sleep(0.05)
    ticker = Ticker()
    ticking = asyncio.create_task(ticker.run())
    await asyncio.sleep(0.005)
    started = time.perf_counter()
    snapshot = documents.change(uri, 2, [Edit(line, character, line, character, "a")], "utf-16")
    edited = time.perf_counter()
    completion = await ask(snapshot, len(head.encode()) + 1, WorkspaceContext(None))  # type: ignore[operator]
    ended = time.perf_counter()
    await asyncio.sleep(0.005)
    ticking.cancel()
    place = "end" if share == 1 else "middle"
    edit_ms = (edited - started) * 1000
    return Asked(name, place, (ended - started) * 1000, ticker.held_ms, edit_ms, completion.reason)


async def run(only: str) -> tuple[list[Asked], int]:
    """Send the requests at all places; return the results, and `completion.timeoutMs`."""
    settings = configured(None, [])
    async with opened(settings, Listeners(on_message=warn)) as parts:
        ask = pipeline(Model.of(*parts), settings)
        warm = Documents().open("file:///warm.py", "python", 1, WARM_UP)
        await ask(warm, len(WARM_UP), WorkspaceContext(None))
        gc.collect()
        gc.freeze()  # as the server does at its start: a collection of all that was loaded by then takes 40 ms
        found = [
            await ask_at(name, language, text, share, ask)
            for name, (language, text) in TEXTS.items()
            if only in name
            for share in (0.5, 1.0)
        ]
    return found, settings.completion.timeout_ms


def main() -> None:
    """Ask, compare with the limits, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="texts with this in their names")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found, timeout_ms = asyncio.run(run(options.only))
    print(json.dumps(machine()))
    for one in found:
        is_late, is_held = one.elapsed_ms > timeout_ms + MAX_LATE_MS, one.held_ms > MAX_HELD_MS
        marks = f"{'LATE ' if is_late else ''}{'HELD' if is_held else ''}"
        print(
            f"{one.text:32} {one.place:7} answer {one.elapsed_ms:7.1f} ms  loop held {one.held_ms:6.1f} ms"
            f"  (edit {one.edit_ms:5.1f} ms)  {one.reason or 'shown':12} {marks}"
        )
    worst = max(found, key=lambda one: one.held_ms)
    print(f"slowest answer {max(one.elapsed_ms for one in found):.0f} of {timeout_ms + MAX_LATE_MS} ms")
    print(f"event loop held {worst.held_ms:.1f} of {MAX_HELD_MS} ms: {worst.text}, {worst.place}")
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in found], indent=1))


if __name__ == "__main__":
    main()
