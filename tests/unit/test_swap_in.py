"""Prompts that take turns in one sequence, on a fake context that holds ids alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.engine.local.backend import Backend
from starcoder_lsp.engine.local.kv_cache import CachedSequence, Owner, evaluate_slice, rewind
from starcoder_lsp.engine.local.parking import N_WORTH_PARKING, ParkedStates, swap_in

N_SLICE = 64
"""The number of tokens in a slice: the smallest one that is used."""


@define
class Cells:
    """The cells of one sequence. A saved state is the number of its copy."""

    n_held: int = 0
    n_saved: int = 0
    by_copy: dict[int, int] = field(factory=dict)

    def decode(self, _sequence: int, ids: Sequence[int], _position: int, _interrupted: object) -> bool:
        self.n_held += len(ids)
        return True

    def truncate(self, _sequence: int, n_tokens: int) -> bool:
        self.n_held = min(self.n_held, n_tokens)
        return True

    def n_cells_of(self, _sequence: int) -> int:
        return self.n_held

    def save(self, _sequence: int) -> memoryview:
        state = memoryview(bytearray(8))
        self.n_saved += 1
        self.by_copy[id(state)] = self.n_held
        return state

    def restore(self, _sequence: int, state: memoryview) -> bool:
        self.n_held = self.by_copy[id(state)]
        return True


def turn(cells: Cells, cached: CachedSequence, states: ParkedStates, owner: Owner, ids: Sequence[int]) -> int:
    """Evaluate one slice of a prompt, and return the number of its ids that are cached then."""
    backend = cast("Backend", cells)
    swap_in(backend, cached, (), states, owner, ids)
    rewind(backend, cached, cached.match(ids))
    evaluate_slice(backend, cached, ids[len(cached.ids) : len(cached.ids) + N_SLICE], lambda: False)
    assert cells.n_held == len(cached.ids) >= cached.n_prompt
    return len(cached.ids)


PROMPTS = st.lists(st.tuples(st.integers(0, 1200), st.integers(1, 900)), min_size=1, max_size=4)
"""For each prompt, the number of tokens that it shares with the first one, and of those that follow."""


@given(PROMPTS, st.integers(1, 3))
def test_prompts_that_take_turns_are_all_evaluated(shapes: list[tuple[int, int]], n_documents: int) -> None:
    base = range(1200)
    prompts = [
        [*base[:n_shared], *(10_000 * (n + 1) + m for m in range(n_own))] for n, (n_shared, n_own) in enumerate(shapes)
    ]
    cells, cached, states = Cells(), CachedSequence(0), ParkedStates(10_000)
    left: dict[int, Any] = dict(enumerate(prompts))
    n_turns = 0
    while left:
        for number, ids in list(left.items()):
            n_turns += 1
            if turn(cells, cached, states, Owner("client", str(number % n_documents)), ids) == len(ids):
                del left[number]
    assert n_turns <= sum(len(ids) / (N_SLICE - N_WORTH_PARKING) + 1 for ids in prompts)


@given(st.integers(200, 1500), st.integers(1, 200))
def test_an_answer_that_was_not_accepted_is_not_copied(n_prompt: int, n_answer: int) -> None:
    ids = list(range(n_prompt))
    cells, cached, states = Cells(), CachedSequence(0), ParkedStates(10_000)
    while turn(cells, cached, states, Owner("client", "a"), ids) < n_prompt:
        pass
    cached.ids += [-1] * n_answer
    cells.n_held += n_answer
    turn(cells, cached, states, Owner("client", "a"), [*ids, 7])
    assert cells.n_saved == 0


@given(st.integers(400, 1200), st.integers(100, 400), st.integers(100, 400))
def test_a_return_to_an_earlier_place_evaluates_one_token(n_shared: int, n_first: int, n_second: int) -> None:
    """Two places of a document whose prompts begin alike."""
    first, second = ([*range(n_shared), *range(at, at + n)] for at, n in ((10_000, n_first), (20_000, n_second)))
    cells, cached, states = Cells(), CachedSequence(0), ParkedStates(10_000)
    for ids in (first, second, first, second):
        while turn(cells, cached, states, Owner("client", "a"), ids) < len(ids):
            pass
    for ids in (first, second):
        swap_in(cast("Backend", cells), cached, (), states, Owner("client", "a"), ids)
        assert cached.match(ids) == len(ids) - 1
