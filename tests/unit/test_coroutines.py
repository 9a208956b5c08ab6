"""Ctrl-C ends a command also while its coroutine waits."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from starcoder_lsp.cli import coroutines
from starcoder_lsp.cli.bench.pace import run_interruptible, until_interrupted

WAIT_S = 60
"""A time that the test never reaches; the loop has no other event meanwhile."""
posix = pytest.mark.skipif(sys.platform == "win32", reason="no signal can be sent to a thread there")


@contextmanager
def interrupt_from_another_thread() -> Iterator[None]:
    """Send SIGINT to a thread that is not the main one, as if it came just before the loop began to wait.

    In both cases the operating system does not interrupt the loop's wait.
    """
    thread = threading.Thread(target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT))
    asyncio.get_running_loop().call_soon(thread.start)
    yield
    thread.join()


@posix
def test_an_interrupt_that_does_not_reach_the_wait_ends_it() -> None:
    async def wait() -> str:
        with interrupt_from_another_thread(), until_interrupted():
            await asyncio.sleep(WAIT_S)
            return "waited"
        return "interrupted"

    assert run_interruptible(wait()) == "interrupted"


@posix
def test_a_handler_runs_while_a_command_waits() -> None:
    async def wait() -> None:
        with interrupt_from_another_thread():
            await called.wait()

    called = asyncio.Event()
    before = signal.signal(signal.SIGINT, lambda *_: called.set())
    try:
        coroutines.run(asyncio.wait_for(wait(), WAIT_S))
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.set_wakeup_fd(-1) == -1  # the earlier signal handler is back


def test_other_threads_may_run_coroutines() -> None:
    async def three() -> int:
        await asyncio.sleep(0)
        return 3

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: coroutines.run(three())).result() == 3


def test_every_command_runs_its_coroutine_through_this_module() -> None:
    folder = Path(coroutines.__file__).parent
    found = [path for path in folder.rglob("*.py") if re.search(r"asyncio\.run\(|run_until_complete", path.read_text())]
    assert [path.name for path in found] == ["coroutines.py"]
