"""What a suggestion that was shown before still answers: typed through, deleted back into, asked for again.

Whoever accepts what is left of it gets the very text that accepting all of it at first would have made.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from starcoder_lsp.suggestions.site import CLOSERS

N_REMEMBERED = 8
"""Suggestions remembered of one document, each with the document's text at that time."""
N_CLOSED_BYTES = 4
"""Brackets and quotes that an editor may have closed by itself behind the cursor."""


@frozen
class Shown:
    """A suggestion: `text` in place of `start_byte` to `end_byte` of `data`. An empty text: nothing was suggested."""

    data: bytes
    start_byte: int
    end_byte: int
    text: bytes


def first_rest(shown: Iterable[Shown], data: bytes, cursor_byte: int) -> tuple[int, bytes] | None:
    """What the first suggestion that agrees leaves to insert, see `rest_of`."""
    rests = (rest_of(one, data, cursor_byte) for one in shown)
    return next((rest for rest in rests if rest is not None), None)


def rest_of(shown: Shown, data: bytes, cursor_byte: int) -> tuple[int, bytes] | None:
    """What is left of a suggestion at a character boundary of `data`, and the byte up to which it replaces the text.

    `None` if the text is not the suggestion's own with a beginning of it typed, or if nothing to be seen is left.
    Closing brackets and quotes behind the cursor may be new if what is left writes them again: they are replaced.
    That nothing was suggested holds for the same text only. One document's worth is copied where the ends agree.
    """
    n_typed = cursor_byte - shown.start_byte
    end_byte = len(data) - (len(shown.data) - shown.end_byte)
    if not 0 <= n_typed <= len(shown.text) or not cursor_byte <= end_byte <= cursor_byte + N_CLOSED_BYTES:
        return None
    rest, replaced = shown.text[n_typed:], data[cursor_byte:end_byte]
    agrees = (
        data.startswith(shown.text[:n_typed], shown.start_byte)
        and _are_closed_again(replaced, rest)
        and data.startswith(shown.data[: shown.start_byte])
        and data.endswith(shown.data[shown.end_byte :])
    )
    nothing_again = not shown.text and end_byte == shown.end_byte
    return (end_byte, rest) if agrees and (rest.strip() or nothing_again) else None


def _are_closed_again(replaced: bytes, rest: bytes) -> bool:
    """Whether `replaced` is nothing but closing characters that `rest` has in the same order."""
    at = -1
    for closer in replaced:
        at = rest.find(closer, at + 1)
        if at < 0 or closer not in CLOSERS:
            return False
    return True
