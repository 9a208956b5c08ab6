"""The newest request of a document wins, a cancel stops its work, and every waiter gets an outcome."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import pytest

from starcoder_lsp.engine.engine import Cancellation
from starcoder_lsp.session.scheduler import AHEAD, Scheduler, SupersededError, Work

T = TypeVar("T")
PATIENCE_S = 20


@pytest.fixture
async def scheduler() -> AsyncIterator[Scheduler]:
    made = Scheduler()
    yield made
    made.supersede_all()
    async with asyncio.timeout(PATIENCE_S):  # abandoned work ends by itself
        await asyncio.gather(*made._running)


def work_of(function: Callable[[], T]) -> Work[T]:
    async def work(_cancellation: Cancellation) -> T:
        return function()

    return work


class Blocking:
    """Work that signals its start and runs until it is cancelled."""

    def __init__(self) -> None:
        self.started, self.stopped = asyncio.Event(), asyncio.Event()

    async def __call__(self, cancellation: Cancellation) -> str:
        self.started.set()
        over = asyncio.Event()
        cancellation.when_cancelled(over.set)
        await over.wait()
        self.stopped.set()
        return "stopped"


async def stopped(work: Blocking) -> bool:
    async with asyncio.timeout(PATIENCE_S):
        return await work.stopped.wait()


async def test_the_result_of_work_is_returned(scheduler: Scheduler) -> None:
    assert await scheduler.run("a", work_of(lambda: 42)) == 42


async def test_an_exception_is_raised_to_the_waiter_and_later_work_runs(scheduler: Scheduler) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await scheduler.run("a", work_of(fail))
    assert await scheduler.run("a", work_of(lambda: 1)) == 1


async def test_work_that_raises_cancelled_error_ends_its_waiter(scheduler: Scheduler) -> None:
    def lose() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.ensure_future(scheduler.run("a", work_of(lose))), PATIENCE_S)
    assert await scheduler.run("a", work_of(lambda: 1)) == 1


async def test_a_newer_request_supersedes_a_running_one(scheduler: Scheduler) -> None:
    work = Blocking()
    older = asyncio.ensure_future(scheduler.run("a", work))
    await work.started.wait()
    assert await scheduler.run("a", work_of(lambda: "newer")) == "newer"
    with pytest.raises(SupersededError):
        await older
    assert await stopped(work)


async def test_a_newer_request_supersedes_a_waiting_one(scheduler: Scheduler) -> None:
    ran: list[str] = []
    waiting = asyncio.ensure_future(scheduler.run("a", work_of(lambda: ran.append("older"))))
    newer = asyncio.ensure_future(scheduler.run("a", work_of(lambda: ran.append("newer"))))
    with pytest.raises(SupersededError):
        await waiting
    await newer
    assert ran == ["newer"]


async def test_requests_of_other_documents_are_not_superseded(scheduler: Scheduler) -> None:
    answers = await asyncio.gather(scheduler.run("a", work_of(lambda: 1)), scheduler.run("b", work_of(lambda: 2)))
    assert answers == [1, 2]
    work = Blocking()
    running = asyncio.ensure_future(scheduler.run("a", work))
    await work.started.wait()
    assert await scheduler.run("b", work_of(lambda: 2)) == 2
    assert not running.done()
    scheduler.supersede("a")
    with pytest.raises(SupersededError):
        await running


async def test_cancelling_the_wait_stops_the_work(scheduler: Scheduler) -> None:
    work = Blocking()
    task = asyncio.ensure_future(scheduler.run("a", work))
    await work.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await stopped(work)
    assert await scheduler.run("a", work_of(lambda: "next")) == "next"


async def test_delayed_work_that_is_superseded_never_runs(scheduler: Scheduler) -> None:
    ran: list[str] = []
    delayed = asyncio.ensure_future(scheduler.run("a", work_of(lambda: ran.append("delayed")), delay_ms=3_600_000))
    await asyncio.sleep(0)
    await scheduler.run("a", work_of(lambda: ran.append("now")))
    with pytest.raises(SupersededError):
        await delayed
    assert ran == ["now"]


async def test_any_request_supersedes_running_work_ahead_of_need(scheduler: Scheduler) -> None:
    work = Blocking()
    ahead = asyncio.ensure_future(scheduler.run(AHEAD, work))
    await work.started.wait()
    assert await scheduler.run("a", work_of(lambda: 1)) == 1
    assert await stopped(work)
    with pytest.raises(SupersededError):
        await ahead


async def test_an_edit_supersedes_waiting_work_ahead_of_need(scheduler: Scheduler) -> None:
    work = Blocking()
    ahead = asyncio.ensure_future(scheduler.run(AHEAD, work, delay_ms=60_000))
    await asyncio.sleep(0)
    scheduler.supersede("a")
    with pytest.raises(SupersededError):
        await ahead
    assert not work.started.is_set()
