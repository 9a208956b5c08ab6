"""Count the prompt tokens that a recorded editing session evaluates, without a model: in seconds instead of minutes.

`python bench/evaluated.py TRACE --model GGUF [--as NAME] [--first N] [--edits N] [--ram-mib N]`. The windows,
anchors, prompts and parked states are the server's; a context that only counts stands for llama.cpp, and nothing is
generated. So it serves to try out anchor policies with a real vocabulary; `starcoder-lsp bench replay` is the
measurement. The report has the mean number of evaluated tokens for each edit, for typing and for other edits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

import numpy as np
from attrs import define
from trace_windows import Replay, Step, options

from starcoder_lsp.cli.bench.traces import grouped
from starcoder_lsp.engine.local.backend import Interrupted, Logits
from starcoder_lsp.engine.local.kv_cache import CachedSequence, Owner, evaluate_slice, rewind
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

    def branch(self, source: int, target: int, n_tokens: int = -1) -> None:
        """Part of the protocol; with one sequence it is never called."""
        raise NotImplementedError

    def agreeing(self, text: bytes) -> TokenIds:
        """Part of the protocol; counting never calls it."""
        raise NotImplementedError


def evaluate(context: Counting, cached: CachedSequence, ids: Sequence[int]) -> int:
    """Bring the sequence to a prompt, and return the number of tokens that had to be evaluated."""
    n_matched = cached.match(ids)
    rewind(context, cached, n_matched)
    if n_matched < len(ids):
        evaluate_slice(context, cached, ids[n_matched:], lambda: False)
        cached.keep_logits(np.zeros(1, np.float32))
    return len(ids) - n_matched


def counted(description: str | None) -> Iterator[tuple[Step, int]]:
    """Replay what the command line names, and yield each edit with the number of tokens that it evaluates."""
    parser = options(description)
    parser.add_argument("--ram-mib", type=int, default=512)
    arguments = parser.parse_args()
    replay = Replay.of(arguments)
    context, cached = Counting(), CachedSequence(sequence=0)
    states = ParkedStates(arguments.ram_mib * 1024 * 1024 // N_CELL_BYTES)
    for step in replay.steps():
        swap_in(context, cached, (), states, Owner("bench", replay.uri), step.prompt.ids)
        yield step, evaluate(context, cached, step.prompt.ids)


def main() -> None:
    """Replay and print the means."""
    measured: list[tuple[bool, tuple[int, int, float]]] = []
    for step, n_evaluated in counted(__doc__):
        measured.append((step.edit.is_typing, (n_evaluated, len(step.prompt.ids), step.window_ms)))
    for name, group in grouped(measured).items():
        evaluated, prompts, times_ms = zip(*group, strict=True)
        tokens = f"{fmean(evaluated):9.2f} evaluated{fmean(prompts):9.1f} in the prompt"
        ms = ", ".join(f"p{n} {percentile(times_ms, n / 100):.2f}" for n in (50, 95))
        print(f"{name:8}{len(group):6} edits{tokens}; ms to choose the window: {ms}")


if __name__ == "__main__":
    main()
