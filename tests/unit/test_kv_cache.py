from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import takewhile
from typing import cast

import numpy as np
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.engine.local.backend import Backend
from starcoder_lsp.engine.local.kv_cache import (
    CachedSequence,
    common_prefix_length,
    evaluate_slice,
    move,
    rewind,
    share,
)

IDS = st.lists(st.integers(0, 2), max_size=40)


@given(IDS, IDS)
def test_the_common_prefix_is_found(a: list[int], b: list[int]) -> None:
    walked = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False))))
    assert common_prefix_length(a, b) == common_prefix_length(tuple(a), b) == walked


@given(IDS, IDS.filter(bool))
def test_the_last_id_of_a_prompt_is_evaluated_unless_its_logits_are_stored(held: list[int], prompt: list[int]) -> None:
    cached = CachedSequence(0, ids=list(held))
    n = cached.match(prompt)
    assert n < len(prompt)
    assert held[:n] == prompt[:n]
    assert cached.logits_behind(len(prompt)) is None
    cached.ids, logits = list(prompt), np.array([1.0, 2.0], np.float32)
    cached.keep_logits(logits)
    logits[:] = 0  # the engine writes to that cell at the next step
    cached.ids += [0, 1]  # with an answer behind the prompt
    assert cached.match(prompt) == len(prompt)
    kept = cached.logits_behind(len(prompt))
    assert kept is not None
    assert kept.tolist() == [1, 2]
    del cached.ids[len(prompt) - 1 :]
    assert cached.match(prompt) == len(prompt) - 1


@define
class Cells:
    """The ids in the cells of each sequence. The "logits" behind some ids are these ids."""

    of: dict[int, list[int]] = field(factory=lambda: defaultdict(list))

    def decode(self, sequence: int, ids: Sequence[int], _position: int, _interrupted: object) -> bool:
        self.of[sequence] += ids
        return True

    def truncate(self, sequence: int, n_tokens: int) -> bool:
        del self.of[sequence][n_tokens:]
        return True

    def branch(self, source: int, target: int, n_tokens: int = -1) -> None:
        self.of[target] += self.of[source][: None if n_tokens < 0 else n_tokens]

    def n_cells_of(self, sequence: int) -> int:
        return len(self.of[sequence])

    def step(self, sequence: int, token_id: int) -> np.ndarray:
        self.of[sequence].append(token_id)
        return np.array(self.of[sequence], np.float32)


FEW = st.lists(st.integers(0, 2), max_size=9)
PROMPT_AND_ANSWERS = st.tuples(FEW.filter(bool), st.lists(FEW, min_size=1, max_size=2), st.integers(0, 1))


@given(st.lists(PROMPT_AND_ANSWERS, max_size=5), st.integers(0, 18))
def test_stored_logits_are_those_behind_their_ids(
    requests: list[tuple[list[int], list[list[int]], int]], n_shared: int
) -> None:
    cells, cached = Cells(), CachedSequence(0)
    backend = cast("Backend", cells)

    def check(each: CachedSequence) -> None:
        assert cells.of[each.sequence] == each.ids
        for n_tokens in range(len(each.ids) + 2):
            kept = each.logits_behind(n_tokens)
            assert kept is None or kept.tolist() == each.ids[:n_tokens]

    for prompt, answers, kept_answer in requests:
        rewind(backend, cached, cached.match(prompt))
        check(cached)
        if rest := prompt[len(cached.ids) :]:
            evaluate_slice(backend, cached, rest, lambda: False)
            cached.keep_logits(np.array(cells.of[0], np.float32))
        assert cached.logits_behind(len(prompt)) is not None
        for sequence in range(1, len(answers)):
            cells.branch(0, sequence)
        for sequence, answer in enumerate(answers):
            for token_id in answer:
                logits = cells.step(sequence, token_id)
                if not sequence:
                    cached.ids.append(token_id)
                    cached.keep_logits(logits)
        check(cached)
        if 0 < kept_answer < len(answers):
            move(backend, kept_answer, cached, [*prompt, *answers[kept_answer]])
        cells.truncate(1, 0)
        check(cached)
    other = CachedSequence(2)
    share(backend, cached, other, min(n_shared, len(cached.ids)))
    check(other)
