"""Sizes of slices by time, on simulated machines whose batches take `fixed_ms + each_ms * n` milliseconds."""

from __future__ import annotations

import math

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.local.backend import N_SLICE
from starcoder_lsp.engine.local.slices import MAX_SLICE, TARGET_MS, SliceSize, first_batch, measured

COSTS = {
    "a large GPU": (2.0, 0.02),
    "a small GPU": (5.0, 0.25),
    "a GPU that is slower than the target": (10.0, 2.0),
    "weights copied for each batch": (160.0, 0.1),
}


@define
class Machine:
    """Batches of n tokens take `fixed_ms + each_ms * n`; batches of more than `n_memory` tokens have no memory."""

    fixed_ms: float
    each_ms: float
    n_memory: int = MAX_SLICE
    n_batch: int = 512
    evaluated: list[int] = field(factory=list)

    def evaluate_ms(self, n_tokens: int) -> float:
        assert n_tokens <= self.n_batch
        self.evaluated.append(n_tokens)
        return self.fixed_ms + self.each_ms * n_tokens

    def reopen(self, n_batch: int) -> None:
        self.n_batch = n_batch
        if n_batch > self.n_memory:
            raise EngineError("no memory")

    def measured(self) -> SliceSize:
        return measured(self.n_batch, self.evaluate_ms, self.reopen)


def test_a_cpu_has_slices_of_64_without_a_measurement() -> None:
    machine = Machine(0.0, 15.0, n_batch=first_batch(0))
    assert machine.measured().n_tokens == N_SLICE == 64
    assert machine.evaluated == []


@pytest.mark.parametrize(
    ("name", "n_tokens", "n_batch"),
    [
        ("a large GPU", 1024, 1024),
        ("a small GPU", 64, 512),
        ("a GPU that is slower than the target", 64, 512),
        ("weights copied for each batch", 512, 512),
    ],
)
def test_slices_of_known_machines(name: str, n_tokens: int, n_batch: int) -> None:
    machine = Machine(*COSTS[name], n_batch=first_batch(33))
    size = machine.measured()
    assert (size.n_tokens, machine.n_batch) == (n_tokens, n_batch)


@given(st.floats(0, 200), st.floats(0.001, 20), st.sampled_from([512, 1024, 2048]))
def test_slices_converge_to_their_time(fixed_ms: float, each_ms: float, n_memory: int) -> None:
    machine = Machine(fixed_ms, each_ms, n_memory)
    size = machine.measured()
    assert size.n_batch == machine.n_batch <= n_memory
    assert N_SLICE <= size.n_tokens <= size.n_batch
    for _ in range(200):
        before = size.n_tokens
        size.record(before, machine.evaluate_ms(before))
        if size.n_tokens == before:
            break
    assert size.n_tokens % N_SLICE == 0
    elapsed_ms = machine.evaluate_ms(size.n_tokens)
    assert elapsed_ms <= size.target_ms + 1e-6 or size.n_tokens == N_SLICE
    assert size.target_ms == max(TARGET_MS, 1.5 * (fixed_ms + each_ms * N_SLICE))


@given(st.floats(0, 20), st.floats(0.001, 1), st.floats(0.05, 20))
def test_slices_follow_a_machine_that_becomes_faster_or_slower(fixed_ms: float, each_ms: float, factor: float) -> None:
    machine = Machine(fixed_ms, each_ms)
    size = machine.measured()
    for _ in range(500):
        size.record(size.n_tokens, factor * machine.evaluate_ms(size.n_tokens))
    n_tokens, elapsed_ms = size.n_tokens, factor * machine.evaluate_ms(size.n_tokens)
    assert elapsed_ms <= size.target_ms + 1e-6 or n_tokens == N_SLICE
    assert n_tokens == size.n_batch or n_tokens * size.target_ms / elapsed_ms < n_tokens + N_SLICE


@pytest.mark.parametrize(("n_evaluated", "elapsed_ms"), [(0, 0.0), (0, 5.0), (256, 1000.0), (300, 0.0)])
def test_short_slices_at_the_end_of_prompts_are_not_measured(n_evaluated: int, elapsed_ms: float) -> None:
    size = SliceSize(512, TARGET_MS, 512)
    size.record(n_evaluated, elapsed_ms)
    assert size.n_tokens == 512


@given(st.integers(1, 600), st.floats(0.001, 1e6))
def test_a_fixed_size_is_a_whole_batch_for_ever(n_batch: int, elapsed_ms: float) -> None:
    size = SliceSize.fixed(n_batch)
    size.record(n_batch, elapsed_ms)
    assert (size.n_tokens, size.target_ms) == (n_batch, math.inf)
