"""A line of the report, and the wording that checks share."""

from __future__ import annotations

from attrs import frozen

OK, WARNING, ERROR = "ok", "warning", "error"
MIB = 1024 * 1024


@frozen
class Check:
    """One line of the report. `advice` says what to do; a shell command stands on a line of its own."""

    name: str
    state: str
    found: str
    advice: str = ""


def counted(n: int, one: str, many: str) -> str:
    """Return a number with its noun."""
    return f"{n:,} {one if n == 1 else many}"


def size(n_bytes: int) -> str:
    """Return a number of bytes in GiB or MiB."""
    return f"{n_bytes / MIB / 1024:,.1f} GiB" if n_bytes >= 1024 * MIB else f"{n_bytes / MIB:,.0f} MiB"
