"""What a suggestion that was shown before still answers: typed through, deleted back into, asked for again.

Whoever accepts what is left of it gets the very text that accepting all of it at first would have made.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from attrs import field, frozen

from starcoder_lsp.settings import Settings
from starcoder_lsp.suggestions.site import CLOSERS, N_CLOSED_BYTES

N_REMEMBERED = 8
"""Answers remembered of one document, each with the document's text at that time."""


@frozen
class Shown:
    """A suggestion: `text` in place of `start_byte` to `end_byte` of `data`. An empty text: nothing was suggested."""

    data: bytes
    start_byte: int
    end_byte: int
    text: bytes


@frozen
class Rest:
    """What is left of a suggestion: `text` in place of `n_replaced_bytes` behind the cursor."""

    text: bytes
    n_replaced_bytes: int


@frozen
class _Answered:
    settings: Settings
    n_items: int
    shown: tuple[Shown, ...]


@frozen
class Memory:
    """The last answers in each document, the newest first, with the settings under which they were given."""

    _answered: dict[str, deque[_Answered]] = field(factory=dict)

    def remember(self, uri: str, settings: Settings, n_items: int, shown: Iterable[Shown]) -> None:
        """Keep an answer to a request for at most `n_items` suggestions."""
        answered = self._answered.setdefault(uri, deque(maxlen=N_REMEMBERED))
        answered.appendleft(_Answered(settings, n_items, tuple(shown)))

    def recall(self, uri: str, settings: Settings, n_items: int, data: bytes, cursor_byte: int) -> list[Rest] | None:
        """What an earlier answer leaves to suggest at a character boundary of `data`; `None` if there is none.

        An empty list: it is known that there is nothing to suggest. A request for several suggestions is answered by
        what was asked for as many.
        """
        for answered in self._answered.get(uri, ()):
            if answered.settings == settings and answered.n_items >= n_items:
                rests = [rest for one in answered.shown if (rest := rest_of(one, data, cursor_byte)) is not None]
                if rests:
                    return list(dict.fromkeys(rest for rest in rests if rest.text))[:n_items]
        return None

    def forget(self, uri: str) -> None:
        """A document was closed or opened anew."""
        self._answered.pop(uri, None)

    def forget_all(self) -> None:
        """There is another model."""
        self._answered.clear()


def typed_since(shown: Shown, data: bytes, cursor_byte: int) -> tuple[bytes, bytes] | None:
    """What was typed in place of a suggestion up to the cursor, and what then stands behind in place of more of it.

    The second is what was to be replaced, or what an editor closed: at most a few closing brackets and quotes. `None`
    if `data` is changed elsewhere. One document's worth is copied where the ends agree.
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


def rest_of(shown: Shown, data: bytes, cursor_byte: int) -> Rest | None:
    """What is left of a suggestion at a character boundary of `data`.

    `None` if the text is not the suggestion's own with a beginning of it typed, or if nothing to be seen is left.
    Closing brackets and quotes behind the cursor may be new if what is left writes them again: they are replaced.
    That nothing was suggested holds for the same text only.
    """
    typed = typed_since(shown, data, cursor_byte)
    if typed is None or not shown.text.startswith(typed[0]):
        return None
    rest, behind = shown.text[len(typed[0]) :], typed[1]
    if not shown.text:
        return Rest(b"", 0) if not behind else None
    return Rest(rest, len(behind)) if rest.strip() and _writes_in_order(rest, behind) else None


def _writes_in_order(text: bytes, closers: bytes) -> bool:
    """Whether `text` has the characters of `closers` in the same order."""
    at = -1
    for closer in closers:
        at = text.find(closer, at + 1)
        if at < 0:
            return False
    return True
