"""Long trials of the server: `make soak`, or `python -m tests.fuzz.soak --seconds 3600 --seed 1 --kinds edits`.

Each kind of case has its own server, which runs as long as possible, so that leaks of memory and descriptors show. Both
are written to `build/soak/soak.html` once a minute, and a summary is printed. Failed cases are reduced and saved, as
those of the tests are.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

from attrs import define, field

from starcoder_lsp.percentile import percentile
from tests.fuzz import many
from tests.fuzz.peer import SETTINGS, Peer
from tests.fuzz.plot import Sample, course_mib, growth_mib, page_of
from tests.fuzz.saved import SEED, reduced, saved
from tests.fuzz.test_fuzz import CHECKS

LISTS = {
    "edits": "steps",
    "keystrokes": "source",
    "messages": "messages",
    "files": "files",
    "workspaces": "entries",
}
"""The part of a failed case that is made shorter."""
SETTINGS_OF = {
    "edits": SETTINGS | {"context": {"maxTokens": 1024}, "completion": {"maxTokens": 8, "timeoutMs": 50_000}},
}
"""Settings of kinds. In cases of edits the whole texts are compared, without completions. A comparison waits for the
edits before it, which take 0.3 s of processor time: with a fiftieth of a core more than the default deadline."""
N_CASES = 5
"""The number of cases of one kind in a row."""
N_TRIES = 30
"""The number of servers that reducing a failed case may take."""
REPORT_S = 60.0


@define
class Tally:
    """The outcome of one kind of case. `n` counts edits, keystrokes, messages, files or workspaces."""

    n: int = 0
    n_cases: int = 0
    n_failed: int = 0
    n_ends: int = 0
    """Child processes that ended while cases ran. The server starts them again."""
    busy_s: float = 0.0
    reply_ms: list[float] = field(factory=list, repr=False)

    def summary(self) -> dict[str, Any]:
        """Return the counts, and percentiles of the replies' times."""
        ms = self.reply_ms or [0.0]
        times = {"p50": median(ms), "p95": percentile(ms, 0.95), "p999": percentile(ms, 0.999), "max": max(ms)}
        counts = {"n": self.n, "cases": self.n_cases, "failed": self.n_failed, "childrenEnded": self.n_ends}
        return counts | {
            "seconds": round(self.busy_s),
            "replies": len(self.reply_ms),
            "replyMs": {name: round(value, 1) for name, value in times.items()},
        }


@define
class Soak:
    """A run: servers, counts and samples. `counts[kind]` limits the cases of a kind."""

    root: Path
    first_seed: int
    deadline_s: float
    output: Path
    counts: dict[str, int] = field(factory=dict)
    settings: dict[str, Any] = field(factory=dict)
    """Groups of settings that replace those of the kind."""
    started_s: float = field(factory=time.monotonic)
    samples: list[Sample] = field(factory=list)
    tallies: dict[str, Tally] = field(factory=dict)
    _peers: dict[str, Peer] = field(factory=dict)
    _cases: dict[str, Iterator[Any]] = field(factory=dict)
    _reported_s: float = 0.0

    def run(self, kinds: Sequence[str], n_rounds: int) -> None:
        """Try the kinds in turn until the time is over, or for `n_rounds` rounds if that is not 0."""
        for kind in kinds:
            self._cases[kind] = many.cases(kind, random.Random(f"{kind} {self.first_seed}"))
            self.tallies[kind] = Tally()
        for _ in range(n_rounds) if n_rounds else itertools.count():
            wanted = [kind for kind in kinds if self.tallies[kind].n < self.counts.get(kind, sys.maxsize)]
            if not wanted or time.monotonic() > self.deadline_s:
                break
            for kind in wanted:
                self._try_some(kind)
            if time.monotonic() > self._reported_s + REPORT_S:
                self._reported_s = time.monotonic()
                self.report()
        for peer in self._peers.values():
            peer.stop()
        self.report()

    def report(self) -> None:
        """Print the counts so far and draw the page."""
        self.output.mkdir(parents=True, exist_ok=True)
        title = f"starcoder-lsp: a soak of {time.monotonic() - self.started_s:.0f} s, seed {self.first_seed}"
        (self.output / "soak.html").write_text(page_of(self.samples, title))
        lines = []
        for kind, tally in self.tallies.items():
            growth = {name: round(each, 2) for name, each in growth_mib(self.samples, kind).items()}
            course = [
                {"n": n, **{name: round(each, 1) for name, each in held.items()}}
                for n, held in course_mib(self.samples, kind)
            ]
            lines.append(json.dumps({"kind": kind, **tally.summary(), "MiBPer10000": growth, "MiB": course}))
        (self.output / "soak.txt").write_text("\n".join([title, *lines, ""]))

    def _try_some(self, kind: str) -> None:
        tally, started = self.tallies[kind], time.monotonic()
        peer = self._peers.get(kind)
        before = {process.pid for process in peer.children()} if peer else set[int]()
        for case in itertools.islice(self._cases[kind], N_CASES):
            self._try(kind, case)
            if time.monotonic() > self.deadline_s:
                break
        tally.busy_s += time.monotonic() - started
        peer = self._peers.get(kind)
        if peer is None:
            return
        n_ended = len(before - {process.pid for process in peer.children()})
        if n_ended:
            tally.n_ends += n_ended
            print(f"{kind}: {n_ended} processes ended up to case {tally.n_cases}, seed {self.first_seed}", flush=True)
            print(f"load {os.getloadavg()[0]:.1f}; {[*peer.shown, *peer.last_errors][-3:]}", flush=True)
        self.samples.append(Sample(kind, time.monotonic() - self.started_s, tally.n, tuple(peer.footprints())))

    def _try(self, kind: str, case: Any) -> None:
        """Try a case. A failed case is reduced and saved, and the next one gets a new server."""
        tally = self.tallies[kind]
        try:
            self._check(kind, case)
        except Exception as error:  # noqa: BLE001  the next cases are tried all the same
            tally.n_failed += 1
            print(f"{kind}, case {tally.n_cases}, seed {self.first_seed}: {str(error)[:500]}", flush=True)
            self._save(kind, case, tally.n_failed)
        tally.n_cases += 1

    def _check(self, kind: str, case: Any) -> None:
        tally = self.tallies[kind]
        peer = self._peers.get(kind) or self._start(kind)
        try:
            tally.n += CHECKS[kind](peer, case)
        except BaseException:
            self._peers.pop(kind).kill()
            raise
        tally.reply_ms += peer.elapsed_ms
        peer.elapsed_ms.clear()

    def _save(self, kind: str, case: Any, number: int) -> None:
        """Reduce a failed case, and save it."""

        def fails(smaller: Any) -> bool:
            try:
                self._check(kind, smaller)
            except Exception:  # noqa: BLE001  any failure counts
                return True
            return False

        if not fails(case):
            print(f"{kind}: it did not fail again", flush=True)
            return
        small = reduced(case, LISTS[kind], fails, N_TRIES)
        with suppress(Exception), saved(kind, small, f"{self.first_seed}-{number}"):
            self._check(kind, small)

    def _start(self, kind: str) -> Peer:
        root = self.root / kind
        root.mkdir(exist_ok=True)
        self._peers[kind] = Peer(root=root, settings=SETTINGS_OF.get(kind, SETTINGS) | self.settings)
        return self._peers[kind]


def _counts(words: Sequence[str]) -> dict[str, int]:
    """Read `kind=count`."""
    return {kind: int(count) for kind, _, count in (word.partition("=") for word in words)}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--kinds", nargs="+", choices=list(LISTS), default=list(LISTS))
    parser.add_argument("--counts", nargs="+", default=[], help="end a kind at a count: edits=1000000")
    parser.add_argument("--rounds", type=int, default=0, help="end after so many rounds of all kinds")
    parser.add_argument("--settings", type=json.loads, default={}, help='of the server: \'{"cache": {"ramMiB": 8}}\'')
    parser.add_argument("--output", type=Path, default=Path("build/soak"))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        deadline_s = time.monotonic() + arguments.seconds
        counts = _counts(arguments.counts)
        soak = Soak(Path(folder), arguments.seed, deadline_s, arguments.output, counts, arguments.settings)
        soak.run(arguments.kinds, arguments.rounds)
    print((arguments.output / "soak.txt").read_text(), end="")
    print(f"memory and descriptors: {arguments.output / 'soak.html'}")
    sys.exit(any(tally.n_failed for tally in soak.tallies.values()))


if __name__ == "__main__":
    main()
