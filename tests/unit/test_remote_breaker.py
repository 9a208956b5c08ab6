"""The pauses after failures of a remote engine."""

from __future__ import annotations

import pytest
from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.engine.remote.breaker import MAX_ASKED_PAUSE_S, MAX_FAILURES, MAX_PAUSE_S, MIN_PAUSE_S, Breaker


@define
class Clock:
    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


def breaker(jitter: float = 0.5) -> Breaker:
    return Breaker(Clock(), lambda: jitter)


def test_one_or_two_failures_do_not_open_the_breaker() -> None:
    it = breaker()
    assert [it.fail() for _ in range(MAX_FAILURES)] == [False] * (MAX_FAILURES - 1) + [True]
    assert it.is_away


def test_a_success_resets_the_count_of_failures() -> None:
    it = breaker()
    for _ in range(10):
        assert not it.fail()
        assert not it.succeed()
    assert not it.is_away


def test_each_change_of_state_is_reported_once() -> None:
    it = breaker()
    assert sum(it.fail() for _ in range(20)) == 1
    assert [it.succeed(), it.succeed()] == [True, False]


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=12, max_size=12))
def test_pauses_double_up_to_a_limit_with_jitter(jitters: list[float]) -> None:
    left = list(jitters)
    it = Breaker(Clock(), lambda: left[0], is_away=True)
    for n, _ in enumerate(jitters):
        it.fail()
        whole = min(MAX_PAUSE_S, MIN_PAUSE_S * 2**n)
        assert whole / 2 - 1e-9 <= it.pause_s <= whole + 1e-9
        left.pop(0)
        left.append(0.0)


@pytest.mark.parametrize(("asked_s", "least_s"), [(7, 7), (100, 100), (1e9, MAX_ASKED_PAUSE_S)])
def test_retry_after_opens_the_breaker_at_once_for_a_bounded_pause(asked_s: float, least_s: float) -> None:
    it = breaker(0.0)
    assert it.fail(asked_s)
    assert it.pause_s == pytest.approx(least_s)


def test_editors_return_at_different_moments() -> None:
    pauses = set()
    for n in range(30):
        it = breaker(n / 30)
        it.fail(10)
        pauses.add(round(it.pause_s, 3))
    assert len(pauses) == 30
    assert max(pauses) - min(pauses) > 2


@pytest.mark.parametrize(("asked_s", "jitter", "pause_s"), [(0, 0, 0.5), (0, 1, 1), (8, 0, 8), (8, 1, 10), (0.1, 1, 1)])
def test_the_first_pause(asked_s: float, jitter: float, pause_s: float) -> None:
    it = breaker(jitter)
    while not it.is_away:
        it.fail(asked_s)
    assert it.pause_s == pytest.approx(pause_s)


def test_a_pause_runs_down_to_zero() -> None:
    clock = Clock()
    it = Breaker(clock, lambda: 1.0)
    it.fail(8)
    clock.now_s += 4
    assert it.pause_s == pytest.approx(6)
    clock.now_s += 100
    assert it.pause_s == 0


def test_after_an_answer_pauses_are_short_again() -> None:
    it = breaker(1.0)
    for _ in range(8):
        it.fail()
    assert it.pause_s > MIN_PAUSE_S
    it.succeed()
    while not it.is_away:
        it.fail()
    assert it.pause_s == pytest.approx(MIN_PAUSE_S)
