"""The type of a table of golden cases."""

from __future__ import annotations

from attrs import frozen


@frozen
class Group:
    """Cases about one filter or one stop reason, which acts in all of them, or in none (`acts`).

    A filter acts if it changes the text that it gets, so no filter before it may have made the same cut.
    """

    about: str
    acts: bool
    shows: str
    """The common property of the cases, in one line."""
    cases: tuple[tuple[str, str, str], ...]
    stop_reason: str = "stop_token"
    """The stop reason if no rule stopped the model."""
    multiline: str = "auto"
