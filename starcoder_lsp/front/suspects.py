"""The documents that ended a session. Such a document is not parsed any more, and after a second time not completed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

MIN_CHANGED_CHARACTERS: Final = 200
CHANGED_SHARE: Final = 0.2
"""Characters, and the share of the document, that must be written until it counts as changed much. Not measured."""


class Suspects:
    """The documents that were being worked on when a session crashed, or fell silent."""

    def __init__(self) -> None:
        self.without_tree: set[str] = set()
        self.without_suggestions: dict[str, int] = {}
        """And the characters that were written in each when it was found out."""
        self._killed_on = ""

    def blame(self, uri: str, n_changed: int) -> str:
        """Note that the session ended while it worked on a document; return a line for the user, or nothing."""
        name = uri.rpartition("/")[2].partition("#")[0]
        if uri not in self.without_tree:
            self.without_tree.add(uri)
            return (
                f"the syntax of {name} could not be analysed: its grammar crashed or did not return. Suggestions go on"
                " without syntax there"
            )
        if uri not in self.without_suggestions:
            self.without_suggestions[uri] = n_changed
            return f"work on {name} ended again; there are no suggestions in it until it changes much"
        return ""

    def has_been_killed_on(self, uri: str) -> bool:
        """Return whether a kill from outside came twice in a row during work on a document: it may take all memory."""
        is_again = bool(uri) and uri == self._killed_on
        self._killed_on = "" if is_again else uri
        return is_again

    def free(self, extent: Callable[[str], tuple[int, int] | None]) -> bool:
        """Let documents that changed much or were closed have suggestions again; return whether there are any.

        `extent` returns the characters written in a document, and its length; `None` for one that is not open. Trees
        are not tried again.
        """
        freed = [uri for uri, since in self.without_suggestions.items() if _is_another(extent(uri), since)]
        for uri in freed:
            del self.without_suggestions[uri]
        return bool(freed)

    def as_json(self) -> dict[str, list[str]]:
        """Return the parameters of `starcoder/quarantine`."""
        return {"withoutTree": sorted(self.without_tree), "withoutSuggestions": sorted(self.without_suggestions)}


def _is_another(extent: tuple[int, int] | None, since: int) -> bool:
    return extent is None or extent[0] - since >= max(MIN_CHANGED_CHARACTERS, extent[1] * CHANGED_SHARE)
