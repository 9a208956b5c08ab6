"""The window: the text before and after the cursor that the model sees, in three parts, with their token ids.

The text before the cursor is split at an anchor, the start of the cursor's line. The text above the anchor is the
prefix. The text between anchor and cursor is the known part of the middle, so typing only appends to the prompt.
`new_window.py` chooses a window, `anchor.py` decides how long one serves.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from starcoder_lsp.context.snippets import Snippet
from starcoder_lsp.documents.documents import Snapshot
from starcoder_lsp.engine.fim import Frame
from starcoder_lsp.engine.tokens import Tokenizer


@frozen
class Budget:
    """Tokens for prefix and suffix together, and the suffix's share of them.

    `n_head_tokens` are those that other files may take, `n_room` all that there is room for, with the other files'.
    """

    n_tokens: int
    suffix_share: float
    n_head_tokens: int = 0
    n_room: int = 2**31


@frozen
class Segment:
    """A part of the file that the model sees: `start_byte` to `end_byte`, as `"prefix"`, `"suffix"` or `"middle"`."""

    kind: str
    start_byte: int
    end_byte: int
    why: str


Segments = tuple[Segment, ...]


@frozen
class Part:
    """One part of the prompt: its segments in order, none of them empty, their text as sent, and its token ids."""

    segments: tuple[Segment, ...] = ()
    text: bytes = b""
    ids: tuple[int, ...] = ()


@frozen
class CrossFileContext:
    """Pieces of other files that the model sees.

    `frame` is the prompt's frame with their text. `n_tokens` are those that it has more than the frame of a prompt
    without other files.
    """

    snippets: tuple[Snippet, ...]
    frame: Frame
    n_tokens: int


@frozen
class Window:
    """What the model sees; `n_tokens` of the cursor's file are at most `max_tokens`.

    `prefix` ends at the anchor, `middle` goes from there to the cursor, `suffix` begins at the cursor. `head` is what
    is shown of other files, if there is any.
    """

    snapshot: Snapshot
    anchor_byte: int
    cursor_byte: int
    budget: Budget
    prefix: Part
    middle: Part
    suffix: Part
    head: CrossFileContext | None = None

    @property
    def max_tokens(self) -> int:
        """What all three parts may take: the budget, or what the head leaves."""
        return max_tokens(self.budget, self.head)

    @property
    def n_tokens(self) -> int:
        """Tokens of all three parts."""
        return len(self.prefix.ids) + len(self.middle.ids) + len(self.suffix.ids)

    @property
    def behind(self) -> bytes:
        """What of the suffix stands right behind the cursor; signatures from further down may follow it."""
        n_further = sum(len(segment_text(self.snapshot, segment)) for segment in self.suffix.segments[1:])
        return self.suffix.text[: len(self.suffix.text) - n_further]


def max_tokens(budget: Budget, head: CrossFileContext | None) -> int:
    """What the parts of a window may take together."""
    return min(budget.n_tokens, budget.n_room - (head.n_tokens if head is not None else 0))


def normalized(text: bytes) -> bytes:
    r"""`text` with `\n` line ends, as in the training data."""
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text


def segment_text(snapshot: Snapshot, segment: Segment) -> bytes:
    """A segment's text as the model gets it."""
    return normalized(snapshot.text.data[segment.start_byte : segment.end_byte])


def part_of(snapshot: Snapshot, segments: Iterable[Segment], tokenizer: Tokenizer) -> Part:
    """Join what is not empty of `segments`."""
    chosen = tuple(segment for segment in segments if segment.start_byte < segment.end_byte)
    text = b"".join(segment_text(snapshot, segment) for segment in chosen)
    return Part(chosen, text, tokenizer.encode(text))
