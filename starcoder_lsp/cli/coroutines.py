"""Run a command's coroutine so that Ctrl-C is noticed at once."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a new event loop and return its result, as `asyncio.run`; a signal always wakes the loop."""

    async def awake() -> T:
        with _woken_by_signals(asyncio.get_running_loop()):
            return await main

    return asyncio.run(awake())


@contextmanager
def _woken_by_signals(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Wake the loop at each signal inside the block.

    Python runs a signal's handler between two bytecodes of the main thread. A signal that comes just before the loop
    begins to wait, or on another thread, would otherwise be noticed only at the loop's next event: for a command that
    waits for a server, when that server answers. Windows' loop does this itself.
    """
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = socket.socketpair()
    with reading, writing:
        reading.settimeout(0)
        writing.settimeout(0)
        loop.add_reader(reading, reading.recv, 4096)
        previous = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)
            loop.remove_reader(reading)
