"""Limit the time of a benchmark: progress with an estimate, a limit in seconds, and Ctrl-C, which keeps results."""

from __future__ import annotations

import asyncio
import math
import signal
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from attrs import define, field, frozen
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from starcoder_lsp.cli import CommandError, coroutines, warn

MAX_SILENT_S = 20.0
"""The longest time without a line about progress, if standard error is no terminal."""
INTERRUPTED = 130
"""The exit code after Ctrl-C, as in shells: 128 plus the signal's number."""
T = TypeVar("T")


@frozen
class Limits:
    """The most items of a benchmark, and the seconds after which it begins no new one; `None` is no limit."""

    n_items: int
    seconds: float | None

    def with_options(self, n_items: int | None, seconds: float | None) -> Limits:
        """Return the limits of the user's options. A number of items alone has no time limit.

        Raises `CommandError`.
        """
        if seconds is not None and not 0 < seconds < math.inf:
            message = f"--seconds {seconds:g}: expected more than 0"
            raise CommandError(message)
        default = self.seconds if n_items is None else None
        return Limits(self.n_items if n_items is None else n_items, default if seconds is None else seconds)


@define(eq=False)
class Watched(Generic[T]):
    """The items of a benchmark; no new one begins after the limit. `n_done` items are finished."""

    items: Iterable[T]
    limits: Limits
    what: str
    n_done: int = 0
    is_late: bool = False
    is_whole: bool = False
    """True once the last item is finished."""
    clock_s: Callable[[], float] = time.monotonic
    on_progress: Callable[[], None] = lambda: None
    _started_s: float = field(init=False, default=0.0)
    _spoke_s: float = field(init=False, default=0.0)

    def __iter__(self) -> Iterator[T]:
        """Yield the items while there is time. The first one is always yielded."""
        self._started_s = self._spoke_s = self.clock_s()
        for item in self.items:
            if self.n_done and self.used_share >= 1:
                self.is_late = True
                return
            yield item
            self.n_done += 1
            self.on_progress()
        self.is_whole = True

    @property
    def used_share(self) -> float:
        """The share of the time limit that has passed; 0 without a limit."""
        return (self.clock_s() - self._started_s) / (self.limits.seconds or math.inf)

    @property
    def left_s(self) -> float:
        """Return the estimated seconds for the rest, by the mean of the items so far, at most those up to the limit."""
        elapsed_s = self.clock_s() - self._started_s
        left_s = elapsed_s / max(self.n_done, 1) * (self.limits.n_items - self.n_done)
        return max(0.0, min(left_s, (self.limits.seconds or math.inf) - elapsed_s))

    @property
    def end(self) -> str:
        """Return the reason why it ended before the last item; empty if it did not."""
        if self.is_whole:
            return ""
        why = f"after {self.limits.seconds:g} s" if self.is_late else "by Ctrl-C"
        return f"ended {why}: {self.n_done:,} of {self.limits.n_items:,}"

    @property
    def is_interrupted(self) -> bool:
        """Return whether Ctrl-C ended it."""
        return not self.is_whole and not self.is_late

    def speak(self) -> None:
        """Write a line about progress if the last one was long ago."""
        if self.clock_s() - self._spoke_s >= MAX_SILENT_S and self.n_done < self.limits.n_items:
            self._spoke_s = self.clock_s()
            warn(f"{self.what}: {self.n_done:,} of {self.limits.n_items:,}, about {spelled_s(self.left_s)} left")


def spelled_s(seconds: float) -> str:
    """Return a duration in words: seconds, or minutes from a minute and a half on."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"  # noqa: PLR2004


@contextmanager
def watching(items: Iterable[T], limits: Limits | int, what: str) -> Iterator[Watched[T]]:
    """Yield the items, with a progress bar on standard error, or lines now and then if that is no terminal.

    The bar ends with the block. `rich.progress.track` ends its bar and its thread only when its generator is garbage
    collected: over an error message, or at the end of the process, which then waits for that thread for ever.
    """
    console = Console(stderr=True)
    limits = Limits(limits, None) if isinstance(limits, int) else limits
    watched = Watched(items, limits, what)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(escape(what), total=limits.n_items)
        if console.is_terminal:
            watched.on_progress = lambda: progress.advance(task)
        else:
            watched.on_progress = watched.speak
        yield watched


@contextmanager
def until_interrupted() -> Iterator[None]:
    """End the block at Ctrl-C, and go on behind it. Inside `run_interruptible`; a second Ctrl-C ends everything."""
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  it was cancelled
        task.uncancel()


def run_interruptible(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in which Ctrl-C ends the block of `until_interrupted`. Raises `CommandError` outside of one."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return coroutines.run(main)
    except KeyboardInterrupt:
        message = "interrupted"
        raise CommandError(message) from None
    finally:
        signal.signal(signal.SIGINT, previous)
