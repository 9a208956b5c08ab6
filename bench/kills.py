"""Measure the recovery from kills of processes: `python bench/kills.py FILE [--kills N] [--fronts N]`.

A client types its way through a file and requests a completion after each character, while the session or the host is
killed by SIGKILL at random moments, also while they start. Every request must get its one reply, in time and for its
own text: what is shown is compared, request by request, with a server whose processes are left alone while the same is
typed, and now and then the session's text with what was typed. `starcoder/metrics` is requested all the time. Then
fronts are killed: no process and no socket file may be left.
"""

from __future__ import annotations

import argparse
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from attrs import define, field

from starcoder_lsp.percentile import percentile
from tests.e2e.conftest import completion_params, notification
from tests.fuzz.peer import Peer

TIMEOUT_MS = 3_000
SETTINGS: dict[str, Any] = {
    "debounce": {"mode": "off"},
    "completion": {"maxTokens": 12, "timeoutMs": TIMEOUT_MS},
    "context": {"maxPrefillMs": 120_000, "maxTokens": 768},
    "host": {"shared": False},
}
PROMISED_MS = 100.0
"""Beyond a request's deadline; and for the counters."""
PROBE_S = 0.2
SHARE_EARLY = 0.25
"""Of the kills: these may come while the session or the model starts."""
N_BETWEEN = 25
"""Kills between two looks at what the front holds."""
EXPLAINED = 200
"""The session's text is looked at after so many requests."""
LEFT_OVER_S = 30.0
"""For processes to end whose server was killed; a busy machine may take long."""
SESSION, HOST = "session", "host"


@define
class Record:
    """What happened."""

    kills: Counter[str] = field(factory=Counter)
    replies: list[tuple[float, float]] = field(factory=list)
    """The milliseconds of each reply, and the load then."""
    n_null: int = 0
    back_s: list[float] = field(factory=list)
    """From each kill to the next reply that is not null."""
    texts: list[str] = field(factory=list)
    """The suggestions, request by request; an empty text for none."""
    faults: list[str] = field(factory=list)
    killed_s: float | None = None
    metrics_ms: list[float] = field(factory=list)
    overslept_ms: list[float] = field(factory=list)
    """The delay of the measuring thread itself: by how much it woke up later than planned."""
    front: list[tuple[int, float, int, int]] = field(factory=list)
    """Kills, MiB, descriptors and threads."""
    seen: set[psutil.Process] = field(factory=set)

    @property
    def n_kills(self) -> int:
        """The number of kills."""
        return self.kills.total()


def role_of(process: psutil.Process) -> str:
    """Return whether a child of the front is the session or a host; another text for anything else."""
    with suppress(psutil.Error):
        words = process.cmdline()
        return SESSION if "starcoder_lsp.lsp.run" in words else HOST if "host" in words else ""
    return ""


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


def kill_at_random(peer: Peer, arguments: argparse.Namespace, record: Record, rng: random.Random) -> None:
    """Kill the session or the host repeatedly.

    Most kills wait for the first suggestion after the last one. After three sessions that never answered the front
    waits longer and longer before it starts the next one.
    """
    front = psutil.Process(peer.process_id)
    over_s = time.monotonic() + arguments.limit
    while record.n_kills < arguments.kills and time.monotonic() < over_s:
        if rng.random() > SHARE_EARLY:
            while record.killed_s is not None:
                time.sleep(PROBE_S)
        time.sleep(rng.random() * arguments.seconds)
        children = peer.children()
        record.seen.update(children)
        by_role = {role_of(child): child for child in children}
        role = rng.choice(arguments.roles)
        if role in by_role:
            with suppress(psutil.Error):
                by_role[role].kill()
                record.kills[role] += 1
                record.killed_s = record.killed_s or time.monotonic()
        if record.n_kills >= N_BETWEEN * len(record.front):
            mib = front.memory_full_info().uss / 1024**2
            record.front.append((record.n_kills, mib, front.num_fds(), front.num_threads()))
            print(f"the front after {record.n_kills} kills: {record.front[-1][1:]}", flush=True)


def probe(peer: Peer, record: Record, is_over: Callable[[], bool]) -> None:
    """Request the counters repeatedly."""
    number = 0
    while not is_over():
        planned = time.monotonic() + PROBE_S
        time.sleep(PROBE_S)
        record.overslept_ms.append((time.monotonic() - planned) * 1000)
        number += 1
        peer.send(notification("starcoder/metrics", None) | {"id": f"probe {number}"})
        record.metrics_ms.append(peer.answer(f"probe {number}").elapsed_ms)


def type_through(peer: Peer, source: str, record: Record, is_over: Callable[[], bool]) -> None:
    """Type and request until it is over; each line is typed into the finished file, again and again."""
    uri = "untitled:typed.py"
    peer.open(uri, source, "python")
    version = 1
    while True:
        for text, line, column, character in places(source):
            if column == 0:
                peer.close_document(uri)
                peer.open(uri, text, "python")
                version = 1
            version += 1
            place = {"line": line, "character": column}
            change = {"range": {"start": place, "end": place}, "text": character}
            document = {"uri": uri, "version": version}
            number = peer.new_id()
            peer.send(
                notification("textDocument/didChange", {"textDocument": document, "contentChanges": [change]}),
                notification("textDocument/inlineCompletion", completion_params(uri, line, column + 1, 2))
                | {"id": number},
            )
            answer = peer.answer(number)
            note(record, answer.result, (line, column + 1))
            record.replies.append((answer.elapsed_ms, os.getloadavg()[0]))
            if len(record.replies) % EXPLAINED == 0:
                look(peer, uri, source.splitlines()[line][: column + 1], (line, column + 1), record)
            if is_over():
                return


def note(record: Record, result: Any, place: tuple[int, int]) -> None:
    """Record a reply, and a fault if its range is not around the cursor."""
    record.n_null += result is None
    items = (result or {}).get("items") or []
    record.texts.append(items[0]["insertText"] if items else "")
    if result is not None and record.killed_s is not None:
        record.back_s.append(time.monotonic() - record.killed_s)
        record.killed_s = None
    for item in items:
        start, end = ((each["line"], each["character"]) for each in (item["range"]["start"], item["range"]["end"]))
        if not start <= place <= end or start[0] != end[0]:
            record.faults.append(f"a suggestion for {start} to {end} at {place}")


def look(peer: Peer, uri: str, typed: str, place: tuple[int, int], record: Record) -> None:
    """Compare the session's text before the cursor with what was typed on that line."""
    seen = peer.explain(uri, *place)
    if seen is None or "prompt" not in seen:  # the session starts
        return
    prefix, _, rest = seen["prompt"].partition("<fim_suffix>")
    if not (prefix + rest.partition("<fim_middle>")[2]).endswith(typed):
        record.faults.append(f"the session's text before {place} is not {typed!r}")


def undisturbed(source: str, n_requests: int) -> list[str]:
    """Return the suggestions for the same typing with undisturbed processes."""
    record = Record()
    with Peer(settings=SETTINGS) as peer:
        type_through(peer, source, record, lambda: len(record.texts) >= n_requests)
        peer.end()
    return record.texts


def run(source: str, arguments: argparse.Namespace, rng: random.Random) -> None:
    """Kill sessions and hosts, and print."""
    record, started = Record(), time.monotonic()
    with Peer(settings=SETTINGS) as peer:
        killer = threading.Thread(target=kill_at_random, args=(peer, arguments, record, rng), daemon=True)
        killer.start()
        prober = threading.Thread(target=probe, args=(peer, record, lambda: not killer.is_alive()), daemon=True)
        prober.start()
        type_through(peer, source, record, lambda: not killer.is_alive() and record.killed_s is None)
        prober.join()
        record.seen.update(peer.children())
        peer.end()
        left = left_over(record.seen, peer.home)
    report(record, time.monotonic() - started, left)
    calm = undisturbed(source, min(arguments.check, len(record.texts)))
    both = [(mine, theirs) for mine, theirs in zip(record.texts, calm, strict=False) if mine and theirs]
    others = [pair for pair in both if pair[0] != pair[1]]
    print(f"{len(both)} texts shown with and without kills, {len(others)} of them others: {others[:3]}")


def report(record: Record, elapsed_s: float, left: str) -> None:
    """Print what happened."""
    reply_ms = [ms for ms, _ in record.replies]
    late = sorted(((ms, load) for ms, load in record.replies if ms > TIMEOUT_MS + PROMISED_MS), reverse=True)
    slow = [ms for ms in record.metrics_ms if ms > PROMISED_MS]
    loads = [load for _, load in record.replies]
    print(f"{dict(record.kills)} in {elapsed_s:.0f} s; load {spread(loads)}")
    print(f"{len(reply_ms)} requests, as many replies, {record.n_null} of them null; ms {spread(reply_ms)}")
    print(f"later than the deadline of {TIMEOUT_MS} ms and {PROMISED_MS:.0f} ms more: {len(late)}; ms, load {late[:5]}")
    print(f"metrics ms: {spread(record.metrics_ms)}; {len(slow)} later than {PROMISED_MS:.0f}")
    print(f"this program's own waking, ms late: {spread(record.overslept_ms)}")
    print(f"s from a kill to the next reply that is not null: {spread(record.back_s)}")
    print(f"faults: {record.faults[:5] or 'none'}; {left}")
    for n_kills, mib, n_descriptors, n_threads in record.front:
        print(f"the front after {n_kills} kills: {mib:.1f} MiB, {n_descriptors} descriptors, {n_threads} threads")


def kill_fronts(source: str, n_kills: int, most_s: float, rng: random.Random) -> None:
    """Kill fronts at random moments while a completion runs, and print what is left."""
    found = Counter[str]()
    for _ in range(n_kills):
        with Peer(settings=SETTINGS) as peer:
            peer.open("untitled:typed.py", source, "python")
            peer.complete("untitled:typed.py", 3, 0)
            time.sleep(rng.random() * most_s)
            children = set(peer.children())
            psutil.Process(peer.process_id).kill()
            found[left_over(children, peer.home)] += 1
    print(f"fronts killed: {n_kills}; {dict(found)}")


def spread(values: list[float]) -> str:
    """Describe the percentiles of some values."""
    if not values:
        return "none"
    return f"p50 {median(values):.2f}, p95 {percentile(values, 0.95):.2f}, max {max(values):.2f} of {len(values)}"


def left_over(processes: Iterable[psutil.Process], home: Path) -> str:
    """Describe what is left of processes that should have ended."""
    running = [each for each in processes if each.is_running()]  # psutil cannot wait for an id that is a thread's now
    _, alive = psutil.wait_procs(running, timeout=LEFT_OVER_S)
    sockets = [path.name for path in home.rglob("*.sock")]
    return f"processes left over: {[each.pid for each in alive] or 'none'}; socket files: {sockets or 'none'}"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--kills", type=int, default=100, help="of sessions and hosts together")
    parser.add_argument("--roles", nargs="+", choices=[SESSION, HOST], default=[SESSION, HOST])
    parser.add_argument("--fronts", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=4.0, help="a kill comes after a random time of at most this")
    parser.add_argument("--limit", type=float, default=1e9, help="no kill after so many seconds")
    parser.add_argument("--check", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, source = random.Random(arguments.seed), arguments.file.read_text()  # noqa: S311  not a secret
    kill_fronts(source, arguments.fronts, 1.0, rng)
    run(source, arguments, rng)


if __name__ == "__main__":
    main()
