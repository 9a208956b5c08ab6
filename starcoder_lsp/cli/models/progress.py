"""A bar for bytes on standard error, or a line for each tenth where that is not a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from starcoder_lsp.cli import write_error_line

N_LINES = 10


@contextmanager
def watching_bytes(n_bytes: int, what: str) -> Iterator[Callable[[int], None]]:
    """Show progress over `n_bytes`. Yield a function that takes the number of bytes done."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(n_bytes, what)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task(escape(what), total=n_bytes)
        yield lambda n_done: progress.update(task, completed=n_done)


def _lines(n_bytes: int, what: str) -> Callable[[int], None]:
    n_reported = 0

    def report(n_done: int) -> None:
        nonlocal n_reported
        tenths = N_LINES * n_done // n_bytes if n_bytes else 0
        if tenths > n_reported:
            n_reported = tenths
            write_error_line(f"{what}: {n_done / 1e6:,.0f} of {n_bytes / 1e6:,.0f} MB")

    return report
