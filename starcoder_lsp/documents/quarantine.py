"""Documents whose text ended the session before: they get no tree, or no suggestions at all.

Which these are is found out by the front, which survives them. Any thread may ask; the event loop changes the sets.
"""

from __future__ import annotations

from collections.abc import Iterable

_without_tree: frozenset[str] = frozenset()
_without_suggestions: frozenset[str] = frozenset()


def set_quarantine(without_tree: Iterable[str], without_suggestions: Iterable[str]) -> None:
    """Replace what is known. Counts for snapshots that are made from now on."""
    global _without_tree, _without_suggestions
    _without_tree, _without_suggestions = frozenset(without_tree), frozenset(without_suggestions)


def may_have_tree(uri: str) -> bool:
    """Return whether a document's text may be given to its grammar."""
    return uri not in _without_tree and uri not in _without_suggestions


def may_have_suggestions(uri: str) -> bool:
    """Return whether a document gets suggestions."""
    return uri not in _without_suggestions
