"""Newest wins, cancellation stops work, every waiter gets an outcome. Threads are synchronized by events, not time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from starcoder_lsp.engine.engine import Cancelled
from starcoder_lsp.lsp.scheduler import AHEAD, Scheduler, Superseded


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    made = Scheduler()
    yield made
    assert made.close(timeout_s=5)


class Blocking:
    """Work that starts, tells so, and goes on until it is stopped."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.was_stopped = False

    def __call__(self, cancelled: Cancelled) -> str:
        self.started.set()
        while not cancelled():
            pass
        self.was_stopped = True
        return "stopped"


async def test_an_answer_comes_back(scheduler: Scheduler) -> None:
    assert await scheduler.run("a", lambda _cancelled: 42) == 42


async def test_work_runs_on_one_thread(scheduler: Scheduler) -> None:
    threads = await asyncio.gather(*(scheduler.run(str(i), lambda _c: threading.get_ident()) for i in range(5)))
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


async def test_an_exception_comes_back_and_the_thread_lives(scheduler: Scheduler) -> None:
    def fail(_cancelled: Cancelled) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await scheduler.run("a", fail)
    assert await scheduler.run("a", lambda _cancelled: 1) == 1


async def test_a_newer_request_supersedes_one_that_runs(scheduler: Scheduler) -> None:
    work = Blocking()
    older = asyncio.ensure_future(scheduler.run("a", work))
    await asyncio.to_thread(work.started.wait)
    assert await scheduler.run("a", lambda _cancelled: "newer") == "newer"
    with pytest.raises(Superseded):
        await older
    assert work.was_stopped


async def test_a_newer_request_supersedes_one_that_waits(scheduler: Scheduler) -> None:
    blocker, ran = Blocking(), []
    first = asyncio.ensure_future(scheduler.run("blocker", blocker))
    await asyncio.to_thread(blocker.started.wait)
    waiting = asyncio.ensure_future(scheduler.run("a", lambda _cancelled: ran.append("older")))
    await asyncio.sleep(0)
    newer = asyncio.ensure_future(scheduler.run("a", lambda _cancelled: ran.append("newer")))
    with pytest.raises(Superseded):
        await waiting
    scheduler.supersede("blocker")
    with pytest.raises(Superseded):
        await first
    await newer
    assert ran == ["newer"]


async def test_another_document_is_left_alone(scheduler: Scheduler) -> None:
    answers = await asyncio.gather(scheduler.run("a", lambda _c: 1), scheduler.run("b", lambda _c: 2))
    assert answers == [1, 2]


async def test_cancelling_the_wait_stops_the_work(scheduler: Scheduler) -> None:
    work = Blocking()
    task = asyncio.ensure_future(scheduler.run("a", work))
    await asyncio.to_thread(work.started.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await scheduler.run("a", lambda _cancelled: "next") == "next"
    assert work.was_stopped


async def test_delayed_work_that_is_superseded_never_runs(scheduler: Scheduler) -> None:
    ran: list[str] = []
    delayed = asyncio.ensure_future(scheduler.run("a", lambda _c: ran.append("delayed"), delay_ms=3_600_000))
    await asyncio.sleep(0)
    await scheduler.run("a", lambda _c: ran.append("now"))
    with pytest.raises(Superseded):
        await delayed
    assert ran == ["now"]


async def test_whatever_comes_goes_before_what_is_done_ahead(scheduler: Scheduler) -> None:
    work = Blocking()
    ahead = asyncio.ensure_future(scheduler.run(AHEAD, work))
    await asyncio.to_thread(work.started.wait)
    assert await scheduler.run("a", lambda _cancelled: 1) == 1
    assert work.was_stopped
    with pytest.raises(Superseded):
        await ahead


async def test_an_edit_puts_off_what_waits_to_be_done_ahead(scheduler: Scheduler) -> None:
    work = Blocking()
    ahead = asyncio.ensure_future(scheduler.run(AHEAD, work, delay_ms=60_000))
    await asyncio.sleep(0)
    scheduler.supersede("a")
    with pytest.raises(Superseded):
        await ahead
    assert not work.started.is_set()
