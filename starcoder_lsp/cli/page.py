"""The width of a report outside a terminal."""

from __future__ import annotations

from typing import Final

PAGE_COLUMNS: Final = 200
"""The width in a file or a pipe, so that no line is wrapped."""
