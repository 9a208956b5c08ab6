"""A bound, by simulation, of the prompt tokens that cells of the same text at another place could save.

`python bench/moved.py TRACE --model GGUF [--as NAME] [--first N] [--edits N] [--ram-mib N]`. As `bench/evaluated.py`,
but a run of evaluated tokens that stands elsewhere in the cells of the document counts as saved: *resident* if in the
sequence itself, where llama.cpp could shift the cells (`seq_add`), *parked* if in any state in memory. Runs shorter
than `MIN_RUN` do not count. Such cells were computed behind another text, so an answer would change with the cache: the
bound says what giving that up would be worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

from evaluated import N_CELL_BYTES, Counting, evaluate
from trace_windows import Replay, options

from starcoder_lsp.cli.bench.traces import grouped
from starcoder_lsp.engine.local.kv_cache import CachedSequence, Owner
from starcoder_lsp.engine.local.parking import ParkedStates, swap_in

MIN_RUN = 32
"""The shortest run that is worth a shift: half a slice on two CPU cores."""


def n_found(ids: Sequence[int], elsewhere: Iterable[Sequence[int]]) -> int:
    """Return how many of `ids` stand in runs of at least `MIN_RUN` in one of the other sequences."""
    starts: dict[tuple[int, ...], list[tuple[Sequence[int], int]]] = {}
    for other in elsewhere:
        for at in range(len(other) - MIN_RUN + 1):
            starts.setdefault(tuple(other[at : at + MIN_RUN]), []).append((other, at))
    at = n = 0
    while at + MIN_RUN <= len(ids):
        longest = 0
        for other, start in starts.get(tuple(ids[at : at + MIN_RUN]), ())[:8]:
            length = MIN_RUN
            while at + length < len(ids) and start + length < len(other) and ids[at + length] == other[start + length]:
                length += 1
            longest = max(longest, length)
        n += longest
        at += longest or 1
    return n


def main() -> None:
    """Replay and print the means."""
    parser = options(__doc__)
    parser.add_argument("--ram-mib", type=int, default=512)
    arguments = parser.parse_args()
    replay = Replay.of(arguments)
    context, cached = Counting(), CachedSequence(sequence=0)
    states = ParkedStates(arguments.ram_mib * 1024 * 1024 // N_CELL_BYTES)
    measured: list[tuple[bool, tuple[int, ...]]] = []
    for step in replay.steps():
        ids = step.prompt.ids
        suffix_at = ids.index(replay.model.prompts.fim.suffix)
        swap_in(context, cached, (), states, Owner("bench", replay.uri), ids)
        held = list(cached.ids)
        n_evaluated = evaluate(context, cached, ids)
        start = len(ids) - n_evaluated
        parts = ids[start:suffix_at], ids[max(start, suffix_at) :]
        if n_evaluated < MIN_RUN:
            measured.append((step.edit.is_typing, (n_evaluated, *map(len, parts), 0, 0, 0, 0)))
            continue
        everywhere = [held, *(state.ids for state in states)]
        resident = [n_found(part, [held]) for part in parts]
        parked = [n_found(part, everywhere) for part in parts]
        measured.append((step.edit.is_typing, (n_evaluated, *map(len, parts), *resident, *parked)))
    for name, group in grouped(measured).items():
        total, prefix, suffix, *found = (fmean(column) for column in zip(*group, strict=True))
        print(
            f"{name:8}{len(group):6} edits; evaluated {total:7.2f}: prefix {prefix:.2f}, rest {suffix:.2f};"
            f" of these resident {found[0]:.2f} + {found[1]:.2f}, or parked {found[2]:.2f} + {found[3]:.2f}"
        )


if __name__ == "__main__":
    main()
