"""What the tables of golden cases are made of."""

from __future__ import annotations

from attrs import frozen


@frozen
class Group:
    """Cases about one filter, or one reason to stop. It acts in all of them, or in none: `acts` says which.

    To act is to change the text at its turn, so a filter before it must not have cut the text already.
    """

    about: str
    acts: bool
    shows: str
    """What the cases have in common, in a line."""
    cases: tuple[tuple[str, str, str], ...]
    stop_reason: str = "stop_token"
    """Why the model ended if no rule stopped it."""
    multiline: str = "auto"
