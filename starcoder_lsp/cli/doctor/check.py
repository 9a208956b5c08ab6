"""A line of the report, and what all checks use."""

from __future__ import annotations

from attrs import frozen

OK, WARNING, ERROR = "ok", "warning", "error"
MIB = 1024 * 1024


@frozen
class Check:
    """One line of the report. `advice` says what to do; a line to paste into a shell stands on a line of its own."""

    name: str
    state: str
    found: str
    advice: str = ""


def counted(n: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f"{n:,} {one if n == 1 else many}"


def size(n_bytes: int) -> str:
    """A number of bytes for a person."""
    return f"{n_bytes / MIB / 1024:,.1f} GiB" if n_bytes >= 1024 * MIB else f"{n_bytes / MIB:,.0f} MiB"
