"""Measure two editors that share a host: `python bench/two_editors.py FILE FILE [--keystrokes N] [--model GGUF]`.

First one client types the first file alone. Then two servers on one shared host get the keystrokes of two clients in
turn, each in a file of its own, with a request after each keystroke. The report compares the milliseconds and evaluated
tokens of the first client's keystrokes, and gives the memory, in MiB, of the second server.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import fmean, median
from typing import Any

from starcoder_lsp.lsp.client import Answer, Client, connect

SETTINGS: dict[str, Any] = {
    "debounce": {"mode": "off"},
    "completion": {"maxTokens": 16},
    "context": {"maxPrefillMs": 120_000},
    "host": {"idleMinutes": 0},
}


def resident_mib(process_id: int) -> float:
    """Return the resident memory of a process in MiB."""
    status = Path(f"/proc/{process_id}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def hosts() -> list[int]:
    """Return the hosts in this script's own folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            environment = (path.parent / "environ").read_bytes()
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"host" in words and os.environ["XDG_RUNTIME_DIR"].encode() in environment:
            found.append(int(path.parent.name))
    return found


class Typist:
    """Types the second half of a file into its first half, line by line."""

    def __init__(self, client: Client, path: Path, root: Path) -> None:
        lines = path.read_text().splitlines()
        self.client, self.uri, self.at = client, (root / path.name).as_uri(), len(lines) // 2
        self.rest = lines[self.at :]
        client.open(self.uri, "python", "\n".join(lines[: self.at]) + "\n")

    def keystrokes(self) -> Iterator[tuple[int, int, str]]:
        """Yield line, column and character of each keystroke."""
        for line, text in enumerate(self.rest, self.at):
            for column, character in enumerate(text + "\n"):
                yield line, column, character


async def play(paths: list[Path], model: dict[str, Any], n_keystrokes: int) -> tuple[list[list[Answer]], str]:
    """Type in turn; return the answers of each client, and a description of the memory."""
    answers: list[list[Answer]] = [[] for _ in paths]
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slsp-")))
        os.environ |= dict.fromkeys(("XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"), str(folder))
        clients = [await stack.enter_async_context(connect(SETTINGS | model, folder)) for _ in paths]
        typists = [Typist(client, path, folder) for client, path in zip(clients, paths, strict=True)]
        turns = [typist.keystrokes() for typist in typists]
        for _ in range(n_keystrokes):
            for typist, keystrokes, mine in zip(typists, turns, answers, strict=True):
                line, column, character = next(keystrokes)
                typist.client.insert(typist.uri, line, column, character)
                at = (line, column + 1) if character != "\n" else (line + 1, 0)
                mine.append(await typist.client.complete(typist.uri, *at))
        servers = ", ".join(f"{resident_mib(client.process_id):.0f}" for client in clients)
        there = hosts()
        memory = f"servers {servers} MiB; {len(there)} host, {sum(map(resident_mib, there)):.0f} MiB"
    return answers, memory


def row(name: str, answers: list[Answer]) -> str:
    """Return the figures of one client, without its first prompt."""
    later = answers[1:]
    asked = [answer for answer in later if not answer.is_from_memory]
    return (
        f"{name}: {fmean(answer.n_evaluated for answer in later):.3f} evaluated a keystroke;"
        f" p50 {median(answer.elapsed_ms for answer in later):.1f} ms, of {len(asked)} that asked the model"
        f" {median(answer.elapsed_ms for answer in asked):.1f} ms"
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs=2)
    parser.add_argument("--keystrokes", type=int, default=200)
    parser.add_argument("--model")
    arguments = parser.parse_args()
    model = {"model": {"path": arguments.model}} if arguments.model else {}
    (alone,), memory_alone = asyncio.run(play(arguments.files[:1], model, arguments.keystrokes))
    (first, second), memory = asyncio.run(play(arguments.files, model, arguments.keystrokes))
    print(row("alone", alone), f"({memory_alone})")
    print(row("in turn, the first", first))
    print(row("in turn, the second", second), f"({memory})")


if __name__ == "__main__":
    main()
