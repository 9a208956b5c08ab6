"""Documents that ended an earlier session: they are not parsed, or get no suggestions.

The front, which outlives the session, finds them. The event loop changes the sets; any thread may read them.
"""

from __future__ import annotations

from collections.abc import Iterable

_without_tree: frozenset[str] = frozenset()
_without_suggestions: frozenset[str] = frozenset()


def set_quarantine(without_tree: Iterable[str], without_suggestions: Iterable[str]) -> None:
    """Replace the sets of URIs. They apply to snapshots that are made from now on."""
    global _without_tree, _without_suggestions
    _without_tree, _without_suggestions = frozenset(without_tree), frozenset(without_suggestions)


def may_have_tree(uri: str) -> bool:
    """Return whether a document's text may be given to its grammar."""
    return uri not in _without_tree and uri not in _without_suggestions


def may_have_suggestions(uri: str) -> bool:
    """Return whether a document gets suggestions."""
    return uri not in _without_suggestions
