"""Count the prompt tokens that a recorded editing session evaluates, without a model: in seconds instead of minutes.

`python bench/evaluated.py TRACE --model GGUF [--as NAME] [--first N] [--edits N] [--ram-mib N] [--reuse-moved]`. The
windows, anchors, prompts and parked states are the server's; a context that only counts stands for llama.cpp, and
nothing is generated. So it serves to try out anchor policies with a real vocabulary; `starcoder-lsp bench replay` is
the measurement. The report has the mean number of evaluated tokens for each edit, for typing and for other edits.
`--reuse-moved` counts as with `cache.reuseMoved`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from statistics import fmean

import numpy as np
from attrs import define, field
from trace_windows import Replay, options

from starcoder_lsp.cli.bench.traces import grouped
from starcoder_lsp.engine.local.backend import Interrupted, Logits
from starcoder_lsp.engine.local.kv_cache import CachedSequence, Owner, evaluate_slice, rewind
from starcoder_lsp.engine.local.moved import longest_run
from starcoder_lsp.engine.local.parking import ParkedStates, swap_in
from starcoder_lsp.engine.local.pieces import TokenIds
from starcoder_lsp.percentile import percentile

N_CELL_BYTES = 30 * 1024
"""The bytes of a cell of StarCoder2 3B, for the limit of parked states."""
N_CONTEXT = 4096


@define
class Counting:
    """A `Backend` with one sequence that only counts its cells."""

    n_cells: int = N_CONTEXT
    pieces: Sequence[bytes] = ()
    evaluation_ms: float = 0.0
    prefill_speed: float = 0.0
    n_held: int = 0

    def decode(self, sequence: int, ids: Sequence[int], first_position: int, interrupted: Interrupted) -> bool:  # noqa: ARG002  # the protocol has it
        """Add cells."""
        self.n_held += len(ids)
        return True

    def truncate(self, sequence: int, n_tokens: int) -> bool:  # noqa: ARG002  # the protocol has it
        """Drop cells."""
        self.n_held = min(self.n_held, n_tokens)
        return True

    def n_cells_of(self, sequence: int) -> int:  # noqa: ARG002  # the protocol has it
        """Return the number of cells."""
        return self.n_held

    def save(self, sequence: int) -> memoryview:  # noqa: ARG002  # the protocol has it
        """Return a stand-in for a state, with one byte for each cell."""
        return memoryview(bytes(self.n_held))

    def restore(self, sequence: int, state: memoryview) -> bool:  # noqa: ARG002  # the protocol has it
        """Set the number of cells to that of the state."""
        self.n_held = state.nbytes
        return True

    def step(self, tokens: Sequence[tuple[int, int, int]]) -> None:
        """Part of the protocol; counting never calls it."""
        raise NotImplementedError

    def logits(self, row: int = -1) -> Logits:
        """Part of the protocol; counting never calls it."""
        raise NotImplementedError

    def branch(self, source: int, target: int, end: int = -1, first: int = 0) -> None:
        """Part of the protocol; with one sequence it is never called."""
        raise NotImplementedError

    def shift(self, sequence: int, n_positions: int) -> None:
        """Part of the protocol; with one sequence it is never called."""
        raise NotImplementedError

    def agreeing(self, text: bytes) -> TokenIds:
        """Part of the protocol; counting never calls it."""
        raise NotImplementedError


@define
class Counter:
    """Counts the tokens that prompts evaluate, one after another, in one sequence and with parked states."""

    states: ParkedStates
    reuses_moved: bool
    context: Counting = field(factory=Counting)
    cached: CachedSequence = field(factory=lambda: CachedSequence(sequence=0))

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Counter:
        """Return one with empty cells."""
        return cls(ParkedStates(arguments.ram_mib * 1024 * 1024 // N_CELL_BYTES), arguments.reuse_moved)

    def evaluate(self, uri: str, ids: Sequence[int]) -> int:
        """Bring the sequence to a document's prompt, and return the number of tokens that have to be evaluated."""
        context, cached = self.context, self.cached
        swap_in(context, cached, (), self.states, Owner("bench", uri), ids)
        n_matched = cached.match(ids)
        run = longest_run(cached.ids, ids, n_matched) if self.reuses_moved else None
        rewind(context, cached, n_matched)
        if n_matched < len(ids):
            evaluate_slice(context, cached, ids[n_matched:], lambda: False)
            cached.keep_logits(np.zeros(1, np.float32))
        return len(ids) - n_matched - (run.n if run is not None else 0)


def counting_options(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the options that choose trace, vocabulary, edits and what is reused."""
    parser = options(description)
    parser.add_argument("--ram-mib", type=int, default=512, help="memory for parked states")
    parser.add_argument("--reuse-moved", action="store_true", help="as cache.reuseMoved")
    return parser


def main() -> None:
    """Replay and print the means."""
    arguments = counting_options(__doc__).parse_args()
    replay, counter = Replay.of(arguments), Counter.of(arguments)
    measured: list[tuple[bool, tuple[int, int, float]]] = []
    for step in replay.steps():
        n_evaluated = counter.evaluate(replay.uri, step.prompt.ids)
        measured.append((step.edit.is_typing, (n_evaluated, len(step.prompt.ids), step.window_ms)))
    for name, group in grouped(measured).items():
        evaluated, prompts, times_ms = zip(*group, strict=True)
        tokens = f"{fmean(evaluated):9.2f} evaluated{fmean(prompts):9.1f} in the prompt"
        ms = ", ".join(f"p{n} {percentile(times_ms, n / 100):.2f}" for n in (50, 95))
        print(f"{name:8}{len(group):6} edits{tokens}; ms to choose the window: {ms}")


if __name__ == "__main__":
    main()
