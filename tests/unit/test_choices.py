"""The choice of a token from logits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.engine.local.decoding import choices

LOGITS = st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=40)


@given(LOGITS, st.integers(2, 5))
def test_the_likeliest_token_is_the_first_of_several_and_of_all_allowed_ones(values: list[float], n: int) -> None:
    logits = np.array(values, np.float32)
    ((index, logprob),) = choices(logits, 1)
    everything = np.arange(len(logits))
    for others in (choices(logits, n), choices(logits, 1, everything), choices(logits, n, everything)):
        assert others[0] == (index, pytest.approx(logprob, abs=1e-4))
    assert index == values.index(max(values))
    assert logprob == pytest.approx(-np.log(np.exp(np.array(values) - max(values)).sum()), abs=1e-4)
