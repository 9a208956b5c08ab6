"""What a user notices when the model's process is killed again and again: `python bench/kills.py FILE [--kills N]`.

A real server types its way through a file and asks after each character, while its host is killed by SIGKILL at random
moments, also while it loads. Every request must get its one reply, in time and for its own text: what is shown is
compared, request by request, with what a server shows whose host is left alone while the same is typed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from attrs import define, field

from starcoder_lsp.lsp.client import Client, connect
from starcoder_lsp.percentile import percentile

SETTINGS: dict[str, Any] = {
    "debounce": {"mode": "off"},
    "completion": {"maxTokens": 12},
    "context": {"maxPrefillMs": 120_000, "maxTokens": 768},
    "host": {"shared": False},
}
LATE_S = 2.0
URI_NAME = "typed.py"


@define
class Record:
    """What happened."""

    n_kills: int = 0
    n_requests: int = 0
    n_null: int = 0
    reply_ms: list[float] = field(factory=list)
    back_s: list[float] = field(factory=list)
    """From each kill to the next reply that is not null."""
    texts: list[str] = field(factory=list)
    """What was shown, request by request; an empty text is nothing."""
    killed_s: float | None = None
    pids: set[int] = field(factory=set)


def host_of(server: int) -> int | None:
    """The process of a server's own host."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"host" in words and any(b"-%d-" % server in word for word in words):
            return int(path.parent.name)
    return None


def places(source: str) -> Iterator[tuple[str, int, int, str]]:
    """The file as it grows, the place of the next character, and that character."""
    lines = source.splitlines()
    for number, line in enumerate(lines):
        above = "\n".join(lines[:number])
        text = (above + "\n" if number else "") + "\n" + "\n".join(lines[number + 1 :])
        for column, character in enumerate(line):
            yield text, number, column, character
            before, after = text.split("\n")[:number], text.split("\n")[number + 1 :]
            text = "\n".join([*before, line[: column + 1], *after])


async def kill_at_random(server: int, n_kills: int, most_s: float, record: Record, rng: random.Random) -> None:
    """Kill the server's host again and again, each time after at most `most_s`."""
    while record.n_kills < n_kills:
        await asyncio.sleep(rng.random() * most_s)
        host = await asyncio.to_thread(host_of, server)
        if host is not None:
            record.pids.add(host)
            os.kill(host, signal.SIGKILL)
            record.n_kills += 1
            record.killed_s = record.killed_s or time.perf_counter()


async def type_through(client: Client, uri: str, source: str, record: Record, is_over: Callable[[], bool]) -> None:
    """Type and ask until it is over; each line is typed into the finished file, again and again."""
    number = 0
    while True:
        for text, line, column, character in places(source):
            if column == 0:
                number += 1
                client.open(uri, "python", text)
            client.insert(uri, line, column, character)
            answer = await client.complete(uri, line, column + 1)
            record.n_requests += 1
            record.reply_ms.append(answer.elapsed_ms)
            record.n_null += answer.is_null
            record.texts.append(answer.text)
            if not answer.is_null and record.killed_s is not None:
                record.back_s.append(time.perf_counter() - record.killed_s)
                record.killed_s = None
            if is_over():
                return


async def undisturbed(source: str, root: Path, n_requests: int) -> list[str]:
    """What is shown when the same is typed and the host is left alone."""
    record = Record()
    async with connect(SETTINGS, root) as client:
        await type_through(client, (root / URI_NAME).as_uri(), source, record, lambda: record.n_requests >= n_requests)
    return record.texts


async def run(source: str, root: Path, asked: argparse.Namespace, rng: random.Random) -> None:
    """Run and print."""
    record, started = Record(), time.perf_counter()
    async with connect(SETTINGS, root) as client:
        killer = asyncio.ensure_future(kill_at_random(client.process_id, asked.kills, asked.seconds, record, rng))
        uri = (root / URI_NAME).as_uri()
        await type_through(client, uri, source, record, lambda: killer.done() and record.killed_s is None)
        requests = (await client.metrics())["requests"]
    print(f"{record.n_kills} kills in {time.perf_counter() - started:.0f} s")
    print(f"{record.n_requests} requests, as many replies, {record.n_null} of them null; the server counts {requests}")
    print("reply ms:", spread(record.reply_ms))
    n_late = sum(each > LATE_S for each in record.back_s)
    print(
        f"s from a kill to the next reply that is not null: {spread(record.back_s)}; {n_late} later than {LATE_S:.0f}"
    )
    print(left_over(record.pids, root))
    calm = await undisturbed(source, root, min(asked.check, record.n_requests))
    both = [(mine, theirs) for mine, theirs in zip(record.texts, calm, strict=False) if mine and theirs]
    others = [pair for pair in both if pair[0] != pair[1]]
    print(f"{len(both)} texts shown with and without kills, {len(others)} of them others: {others[:5]}")


def spread(values: list[float]) -> str:
    """Percentiles of at least one value."""
    return f"p50 {median(values):.2f}, p95 {percentile(values, 0.95):.2f}, max {max(values):.2f} of {len(values)}"


def left_over(pids: set[int], root: Path) -> str:
    """What the hosts left behind, in words."""
    zombies = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    sockets = [path.name for path in root.rglob("*.sock")]
    return f"processes left over: {zombies or 'none'}; socket files left over: {sockets or 'none'}"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=4.0, help="a kill comes after a random time of at most this")
    parser.add_argument("--check", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)  # noqa: S311  not a secret
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"XDG_CONFIG_HOME": folder, "XDG_RUNTIME_DIR": folder, "XDG_STATE_HOME": folder}
        asyncio.run(run(arguments.file.read_text(), Path(folder), arguments, rng))


if __name__ == "__main__":
    main()
