"""The window: the text around the cursor that the model sees, in three parts, with their token ids.

The text before the cursor is split at an anchor, the start of the cursor's line. The text above the anchor is the
prefix. The text between anchor and cursor is the known part of the middle, so typing only appends to the prompt.
`new_window.py` chooses a window, `anchor.py` decides how long it stays in use.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from starcoder_lsp.context.snippet import Snippet
from starcoder_lsp.documents.documents import Snapshot
from starcoder_lsp.engine.fim import Frame
from starcoder_lsp.engine.tokens import Tokenizer


@frozen
class Budget:
    """Limits on a window: `n_tokens` for its three parts together, and the suffix's share of them.

    Pieces of other files may take `n_cross_file_tokens`, and all of it together `max_prompt_tokens`.
    """

    n_tokens: int
    suffix_share: float
    n_cross_file_tokens: int = 0
    max_prompt_tokens: int = 2**31


@frozen
class Segment:
    """A piece of the cursor's file that the model sees. `kind` is `"prefix"`, `"suffix"` or `"middle"`.

    `why` is the reason for the piece, for users to read.
    """

    kind: str
    start_byte: int
    end_byte: int
    why: str


Segments = tuple[Segment, ...]


@frozen
class Part:
    """One part of the prompt: its segments in order, none empty, their text as sent, and its token ids."""

    segments: tuple[Segment, ...] = ()
    text: bytes = b""
    ids: tuple[int, ...] = ()


@frozen
class CrossFileContext:
    """Pieces of other files that the model sees.

    `frame` is the prompt's frame with their text in it. It has `n_tokens` more than a frame without other files.
    """

    snippets: tuple[Snippet, ...]
    frame: Frame
    n_tokens: int


@frozen
class Window:
    """The text that the model sees; the three parts have at most `max_tokens` together.

    `prefix` ends at the anchor, `middle` goes from there to the cursor, `suffix` begins at the cursor. `cross_file` has
    the pieces of other files, if any.
    """

    snapshot: Snapshot
    anchor_byte: int
    cursor_byte: int
    budget: Budget
    prefix: Part
    middle: Part
    suffix: Part
    cross_file: CrossFileContext | None = None

    @property
    def max_tokens(self) -> int:
        """Return the limit for all three parts: the budget, or less if pieces of other files need the room."""
        return max_tokens(self.budget, self.cross_file)

    @property
    def n_tokens(self) -> int:
        """Return the number of tokens in all three parts."""
        return len(self.prefix.ids) + len(self.middle.ids) + len(self.suffix.ids)

    @property
    def text_after_cursor(self) -> bytes:
        """Return the suffix without the signatures at its end: the text that follows the cursor directly."""
        n_signatures = sum(len(segment_text(self.snapshot, segment)) for segment in self.suffix.segments[1:])
        return self.suffix.text[: len(self.suffix.text) - n_signatures]


def max_tokens(budget: Budget, cross_file: CrossFileContext | None) -> int:
    """Return how many tokens the parts of a window may have together."""
    return min(budget.n_tokens, budget.max_prompt_tokens - (cross_file.n_tokens if cross_file is not None else 0))


def normalized(text: bytes) -> bytes:
    r"""Return `text` with `\n` line ends, as in the training data."""
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text


def segment_text(snapshot: Snapshot, segment: Segment) -> bytes:
    """Return a segment's text as the model gets it."""
    return normalized(snapshot.text.data[segment.start_byte : segment.end_byte])


def part_of(snapshot: Snapshot, segments: Iterable[Segment], tokenizer: Tokenizer) -> Part:
    """Join the segments that are not empty, and tokenize their text."""
    chosen = tuple(segment for segment in segments if segment.start_byte < segment.end_byte)
    text = b"".join(segment_text(snapshot, segment) for segment in chosen)
    return Part(chosen, text, tokenizer.encode(text))
