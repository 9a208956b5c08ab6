"""Answer requests from earlier suggestions: after the user typed a part of one, deleted a part, or asked again.

Accepting what is left of a suggestion gives exactly the text that accepting all of it at first would have given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from attrs import field, frozen

from starcoder_lsp.settings import Settings
from starcoder_lsp.suggestions.cursor_context import CLOSERS, N_CLOSED_BYTES

MAX_CACHED_ANSWERS = 8
"""The most answers cached for one document, each with the document's text at that time. Not measured."""


@frozen
class CachedSuggestion:
    """A suggestion: `text` replaces `start_byte` to `end_byte` of `data`; empty if nothing was suggested."""

    data: bytes
    start_byte: int
    end_byte: int
    text: bytes


@frozen
class Remainder:
    """The rest of a suggestion: `text` in place of `n_replaced_bytes` behind the cursor."""

    text: bytes
    n_replaced_bytes: int


@frozen
class _Answer:
    settings: Settings
    n_items: int
    suggestions: tuple[CachedSuggestion, ...]


@frozen
class SuggestionCache:
    """The last answers in one document, the newest first, with the settings under which they were given."""

    _answers: deque[_Answer] = field(factory=lambda: deque(maxlen=MAX_CACHED_ANSWERS))

    def store(self, settings: Settings, n_items: int, suggestions: Iterable[CachedSuggestion]) -> None:
        """Cache an answer to a request for at most `n_items` suggestions."""
        self._answers.appendleft(_Answer(settings, n_items, tuple(suggestions)))

    def lookup(self, settings: Settings, n_items: int, data: bytes, cursor_byte: int) -> list[Remainder] | None:
        """Return the rest of an earlier answer at a character boundary of `data`; `None` if no answer fits.

        An empty list means: the model had nothing to suggest here. A request for several suggestions needs an answer
        to a request for as many.
        """
        for answer in self._answers:
            if answer.settings == settings and answer.n_items >= n_items:
                remainders = [
                    remainder
                    for suggestion in answer.suggestions
                    if (remainder := remainder_of(suggestion, data, cursor_byte)) is not None
                ]
                if remainders:
                    return list(dict.fromkeys(each for each in remainders if each.text))[:n_items]
        return None

    def clear(self) -> None:
        """Forget all answers, for instance when another model is loaded."""
        self._answers.clear()


def typed_since(shown: CachedSuggestion, data: bytes, cursor_byte: int) -> tuple[bytes, bytes] | None:
    """Return the text typed in place of a suggestion up to the cursor, and the closing characters behind the cursor.

    The suggestion was to replace those characters, or the editor added them since: a few brackets and quotes at most.
    Return `None` if `data` differs elsewhere. Copies the document once if the ends are equal.
    """
    end_byte = len(data) - (len(shown.data) - shown.end_byte)
    if not shown.start_byte <= cursor_byte <= end_byte <= cursor_byte + N_CLOSED_BYTES:
        return None
    behind = data[cursor_byte:end_byte]
    if behind.strip(CLOSERS):
        return None
    if not (data.endswith(shown.data[shown.end_byte :]) and data.startswith(shown.data[: shown.start_byte])):
        return None
    return data[shown.start_byte : cursor_byte], behind


def remainder_of(shown: CachedSuggestion, data: bytes, cursor_byte: int) -> Remainder | None:
    """Return the rest of a suggestion at a character boundary of `data`.

    Return `None` unless `data` is the suggestion's document with a beginning of the suggestion typed into it, and if
    only blanks are left. The rest replaces closing brackets and quotes behind the cursor that it writes again. An
    empty suggestion answers a request for the same text only.
    """
    typed = typed_since(shown, data, cursor_byte)
    if typed is None or not shown.text.startswith(typed[0]):
        return None
    rest, behind = shown.text[len(typed[0]) :], typed[1]
    if not shown.text:
        return Remainder(b"", 0) if not behind else None
    return Remainder(rest, len(behind)) if rest.strip() and _writes_in_order(rest, behind) else None


def _writes_in_order(text: bytes, closers: bytes) -> bool:
    """Return whether `text` has the characters of `closers` in the same order."""
    at = -1
    for closer in closers:
        at = text.find(closer, at + 1)
        if at < 0:
            return False
    return True
