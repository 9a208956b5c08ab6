"""The console for a report, on a terminal or elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

PAGE_COLUMNS: Final = 200
"""The width in a file or a pipe, so that no line is wrapped."""


def report_console(*, highlight: bool = False) -> Console:
    """Return a console on standard output that shows texts as they are: `[slug]` and `:a:` are parts of file names."""
    from rich.console import Console  # 0.1 s, which JSON does without

    width = None if sys.stdout.isatty() else PAGE_COLUMNS
    return Console(width=width, highlight=highlight, markup=False, emoji=False)
