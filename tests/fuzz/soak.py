"""Try the server for long: `make soak`, or `python -m tests.fuzz.soak --seconds 3600 --seed 1 --kinds edits messages`.

Each kind of case has a server of its own that lives as long as it can, so memory and descriptors show what stays. They
are written to `build/soak/soak.html`, and a summary is printed. Cases that fail are saved as the tests save theirs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from attrs import define, field
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from starcoder_lsp.percentile import percentile
from tests.fuzz import edits, files, messages, workspaces
from tests.fuzz.peer import Peer
from tests.fuzz.plot import Sample, growth_mib, page_of
from tests.fuzz.saved import SEED, saved
from tests.fuzz.test_fuzz import CHECKS

CASES: dict[str, st.SearchStrategy[Any]] = {
    "edits": edits.cases("utf-16", 100, 200),
    "messages": messages.cases(30, 80),
    "files": files.cases(6),
    "workspaces": workspaces.cases(10),
}
N_CASES = 10
"""Of one kind, before the next kind has its turn."""


class TimeIsOver(BaseException):  # no failure: nothing may take it for one
    """Ends Hypothesis' run in the middle."""


@define
class Tally:
    """What one kind of case came to. `n` counts edits, messages, files or workspaces."""

    n: int = 0
    n_cases: int = 0
    n_failed: int = 0
    n_ends: int = 0
    """Child processes that ended while a case ran. The server starts them again."""
    reply_ms: list[float] = field(factory=list, repr=False)

    def summary(self) -> dict[str, Any]:
        """Return the counts, and percentiles of the replies' times."""
        ms = self.reply_ms or [0.0]
        times = {"p50": median(ms), "p95": percentile(ms, 0.95), "p999": percentile(ms, 0.999), "max": max(ms)}
        counts = {"n": self.n, "cases": self.n_cases, "failed": self.n_failed, "childrenEnded": self.n_ends}
        return counts | {
            "replies": len(self.reply_ms),
            "replyMs": {name: round(value, 1) for name, value in times.items()},
        }


@define
class Soak:
    """A run: the servers, the counts and the samples."""

    root: Path
    first_seed: int
    deadline_s: float
    started_s: float = field(factory=time.monotonic)
    samples: list[Sample] = field(factory=list)
    tallies: dict[str, Tally] = field(factory=dict)
    _peers: dict[str, Peer] = field(factory=dict)

    def run(self, kinds: list[str], n_rounds: int) -> None:
        """Try the kinds in turn until the time is over, or for so many rounds if that is not 0."""
        for number in range(n_rounds) if n_rounds else itertools.count():
            if time.monotonic() > self.deadline_s:
                break
            for kind in kinds:
                self._try(kind, self.first_seed + number)
        for peer in self._peers.values():
            peer.stop()

    def _try(self, kind: str, number: int) -> None:
        """Try some cases of a kind. One that fails is shrunk and saved; the next one has a new server."""
        shrinking = settings(
            max_examples=N_CASES,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )

        @seed(number)
        @shrinking
        @given(CASES[kind])
        def run(case: Any) -> None:
            if time.monotonic() > self.deadline_s:
                raise TimeIsOver
            with saved(kind, case, number):
                self._check(kind, case)

        try:
            run()
        except TimeIsOver:
            pass
        except Exception as error:  # noqa: BLE001  the next cases are tried all the same
            print(f"{kind}, seed {number}: {str(error)[:500]}", flush=True)
            self.tallies[kind].n_failed += 1
        elapsed_s = time.monotonic() - self.started_s
        if kind in self._peers:
            self.samples.append(Sample(kind, elapsed_s, self.tallies[kind].n, tuple(self._peers[kind].footprints())))

    def _check(self, kind: str, case: Any) -> None:
        tally = self.tallies.setdefault(kind, Tally())
        peer = self._peers.get(kind) or self._start(kind)
        before = {process.pid for process in peer.children()}
        try:
            tally.n += CHECKS[kind](peer, case)
        except BaseException:
            self._peers.pop(kind).kill()
            raise
        tally.n_cases += 1
        tally.n_ends += len(before - {process.pid for process in peer.children()})
        tally.reply_ms += peer.elapsed_ms
        peer.elapsed_ms.clear()

    def _start(self, kind: str) -> Peer:
        root = self.root / kind
        root.mkdir(exist_ok=True)
        self._peers[kind] = Peer(root=root)
        return self._peers[kind]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--kinds", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--rounds", type=int, default=0, help="end after so many rounds of all kinds")
    parser.add_argument("--output", type=Path, default=Path("build/soak"))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder), arguments.seed, time.monotonic() + arguments.seconds)
        soak.run(arguments.kinds, arguments.rounds)
    arguments.output.mkdir(parents=True, exist_ok=True)
    page = arguments.output / "soak.html"
    page.write_text(page_of(soak.samples, f"starcoder-lsp: a soak of {arguments.seconds:.0f} s, seed {arguments.seed}"))
    for kind, tally in soak.tallies.items():
        growth = {name: round(each, 2) for name, each in growth_mib(soak.samples, kind).items()}
        print(json.dumps({"kind": kind, **tally.summary(), "MiBPer10000": growth}))
    print(f"memory and descriptors: {page}")
    sys.exit(any(tally.n_failed for tally in soak.tallies.values()))


if __name__ == "__main__":
    main()
