from __future__ import annotations

from itertools import takewhile

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.engine.local.kv_cache import CachedSequence, common_prefix_length

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
    assert cached.logits_after(prompt) is None
    cached.ids, logits = list(prompt), np.array([1.0, 2.0], np.float32)
    cached.keep_logits(logits)
    logits[:] = 0  # the engine writes to that cell at the next step
    cached.ids += [0, 1]  # with an answer behind the prompt
    assert cached.match(prompt) == len(prompt)
    kept = cached.logits_after(prompt)
    assert kept is not None
    assert kept.tolist() == [1, 2]
    del cached.ids[len(prompt) - 1 :]
    assert cached.match(prompt) == len(prompt) - 1
