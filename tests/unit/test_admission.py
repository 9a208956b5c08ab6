"""The order and the waits of generations: properties, on an event loop with a simulated clock."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from functools import partial
from typing import Any

from attrs import define, field, frozen
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.engine.engine import Cancellation
from starcoder_lsp.session.admission import MAX_WAIT_S, N_AT_ONCE, Admission, Turn
from starcoder_lsp.session.scheduler import SupersededError


class NoWaiting(selectors.SelectSelector):
    """A selector that never blocks, and adds up the time for which it should have."""

    waited_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing will ever happen"
        self.waited_s += timeout
        return super().select(0)


class OwnClockLoop(asyncio.SelectorEventLoop):
    """An event loop with a simulated clock, which jumps to the next timer whenever nothing else is ready."""

    def __init__(self) -> None:
        self.clock = NoWaiting()
        super().__init__(self.clock)
        self._clock_resolution = 1e-9  # a timer is due when less than this is left

    def time(self) -> float:
        return self.clock.waited_s


def run_simulated(coroutine: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=OwnClockLoop) as runner:
        runner.run(coroutine)


@frozen
class SimulatedRequest:
    """A request: the time of its arrival, the duration of its work, and the time of its cancellation, if any."""

    at_s: float
    work_s: float
    is_automatic: bool
    cancelled_s: float | None


SECONDS = st.integers(0, 24).map(lambda quarters: quarters / 4)
REQUESTS = st.lists(st.builds(SimulatedRequest, SECONDS, SECONDS, st.booleans(), st.none() | SECONDS), max_size=12)


@define
class Log:
    """The outcome of each request, by its number."""

    began_s: dict[int, float] = field(factory=dict)
    ended_s: dict[int, float] = field(factory=dict)
    refused_s: dict[int, float] = field(factory=dict)
    cancelled_s: dict[int, float] = field(factory=dict)
    order: list[int] = field(factory=list)
    """Numbers of requests in the order of arrival."""


async def simulate(requests: list[SimulatedRequest], log: Log) -> None:
    admission, loop = Admission(), asyncio.get_running_loop()

    async def one(number: int, request: SimulatedRequest) -> None:
        await asyncio.sleep(request.at_s)
        cancellation = Cancellation()

        def cancel() -> None:
            log.cancelled_s[number] = loop.time()
            cancellation.cancel()

        if request.cancelled_s is not None:
            loop.call_later(request.cancelled_s, cancel)

        async def work() -> int:
            log.began_s[number] = loop.time()
            over = asyncio.Event()
            loop.call_later(request.work_s, over.set)
            cancellation.when_cancelled(over.set)
            await over.wait()
            return number

        log.order.append(number)
        try:
            assert await admission.run(Turn(request.is_automatic), work, cancellation) == number
            log.ended_s[number] = loop.time()
        except SupersededError:
            log.refused_s[number] = loop.time()

    await asyncio.gather(*(one(number, request) for number, request in enumerate(requests)))


@given(REQUESTS)
def test_each_request_begins_or_is_refused_in_time(requests: list[SimulatedRequest]) -> None:
    log = Log()
    run_simulated(simulate(requests, log))
    for number, request in enumerate(requests):
        assert (number in log.ended_s) != (number in log.refused_s)
        if number in log.refused_s:
            waited_s = log.refused_s[number] - request.at_s
            was_cancelled = number in log.cancelled_s and log.cancelled_s[number] == log.refused_s[number]
            assert number not in log.began_s
            assert was_cancelled or (request.is_automatic and waited_s == MAX_WAIT_S)
        elif request.is_automatic:
            assert log.began_s[number] - request.at_s <= MAX_WAIT_S
        if number in log.ended_s and number not in log.cancelled_s:  # started work runs to its end
            assert log.ended_s[number] == log.began_s[number] + request.work_s


@given(REQUESTS)
def test_at_most_n_at_once_block_others_and_each_for_a_limited_time(requests: list[SimulatedRequest]) -> None:
    log = Log()
    run_simulated(simulate(requests, log))
    for number, began_s in log.began_s.items():
        held_up = [other for other in log.began_s if _blocks(log, other, began_s) and other != number]
        assert len(held_up) < N_AT_ONCE
        if began_s > requests[number].at_s:  # it waited, so enough others blocked it until then
            just_before = [other for other in log.began_s if _blocked_until(log, other, began_s) and other != number]
            assert len(just_before) >= N_AT_ONCE


def _end_of_block_s(log: Log, number: int) -> float:
    ends = [log.began_s[number] + MAX_WAIT_S, log.ended_s[number]]
    return min([*ends, *([log.cancelled_s[number]] if number in log.cancelled_s else [])])


def _blocks(log: Log, number: int, at_s: float) -> bool:
    """Return whether work blocks others both before and after a moment."""
    return log.began_s[number] < at_s < _end_of_block_s(log, number)


def _blocked_until(log: Log, number: int, at_s: float) -> bool:
    return log.began_s[number] <= at_s <= _end_of_block_s(log, number)


@given(st.lists(st.booleans(), min_size=N_AT_ONCE + 1, max_size=12))
def test_invoked_requests_run_first_and_then_the_newest(automatic: list[bool]) -> None:
    """All wait for work that ends at the same moment; their own work takes no time."""
    log = Log()
    busy = [SimulatedRequest(0.0, 1.0, is_automatic=False, cancelled_s=None)] * N_AT_ONCE
    waiting = [SimulatedRequest(0.25, 0.0, is_automatic=each, cancelled_s=None) for each in automatic]
    run_simulated(simulate([*busy, *waiting], log))
    came = [number for number in log.order if number >= N_AT_ONCE]
    began = [number for number in log.began_s if number >= N_AT_ONCE]
    assert began == sorted(came, key=lambda number: (waiting[number - N_AT_ONCE].is_automatic, -came.index(number)))


def test_an_automatic_request_that_becomes_an_invoked_one_is_not_refused() -> None:
    async def play() -> None:
        admission, turns = Admission(), [Turn(is_automatic=True) for _ in range(N_AT_ONCE + 1)]
        forever = asyncio.Event()

        async def work(turn: Turn) -> Turn:
            if turn is not turns[-1]:
                await forever.wait()
            return turn

        running = [asyncio.ensure_future(admission.run(each, partial(work, each), Cancellation())) for each in turns]
        await asyncio.sleep(MAX_WAIT_S / 2)
        turns[-1].is_automatic = False
        assert await running[-1] is turns[-1]
        assert asyncio.get_running_loop().time() == MAX_WAIT_S  # others block it no longer than that
        forever.set()
        assert await asyncio.gather(*running) == turns

    run_simulated(play())


def test_a_cancelled_await_frees_its_place() -> None:
    async def play() -> None:
        admission, forever = Admission(), asyncio.Event()
        running = [
            asyncio.ensure_future(admission.run(Turn(is_automatic=True), forever.wait, Cancellation()))
            for _ in range(N_AT_ONCE + 2)
        ]
        await asyncio.sleep(0)
        running[0].cancel()
        running[-1].cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        forever.set()
        done = await asyncio.gather(*running, return_exceptions=True)
        assert [type(each) for each in done] == [asyncio.CancelledError, bool, bool, asyncio.CancelledError]
        assert asyncio.get_running_loop().time() == 0

    run_simulated(play())
