"""The cursor's place, as the rules about suggestions see it: what is on its line, what is below, how far to write."""

from __future__ import annotations

from attrs import frozen

from starcoder_lsp.documents.documents import Snapshot, language_of

N_BELOW_BYTES = 4096
"""Text below the cursor's line that the rules look at."""
TAB_WIDTH = 8
CLOSERS = b")]}>\"'`"
SEPARATORS = b",;:"
BRACKETS = (b"{", b"(", b"[")
BLOCK_OPENERS = {"indent": (b":", *BRACKETS), "brace": BRACKETS}


@frozen
class Site:
    r"""Where a suggestion goes. All text has `\n` line ends."""

    line_before: bytes
    line_after: bytes
    below: bytes
    one_line: bool
    """Whether the suggestion ends with the line."""
    floor: int
    """Columns: a later line that is indented less than this is outside the scope that is being written."""
    line_end: bytes
    """The document's own line end, which the inserted text gets."""


def indent_width(line: bytes) -> int:
    """Columns of the white space that `line` begins with."""
    blank = line[: len(line) - len(line.lstrip(b" \t"))]
    return len(blank.expandtabs(TAB_WIDTH))


def only_closes(text: bytes) -> bool:
    """Whether `text`, the rest of a line, is nothing but closing brackets, quotes and separators."""
    return not text.strip().strip(CLOSERS + SEPARATORS)


def describe_site(snapshot: Snapshot, cursor_byte: int, multiline: str) -> Site:
    """Look at the cursor's surroundings.

    `multiline` is `"auto"`, `"never"` or `"always"`. Automatic means: several lines where nothing stands behind the
    cursor and the line is empty or opens a block, one line otherwise.
    """
    text = snapshot.text
    line = text.line_of(cursor_byte)
    line_start, line_end = text.line_span(line)
    before, after = text.data[line_start:cursor_byte], text.data[cursor_byte : max(cursor_byte, line_end)]
    next_start = text.line_starts[line + 1] if line + 1 < text.n_lines else len(text.data)
    below = text.data[next_start : next_start + N_BELOW_BYTES].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    openers = BLOCK_OPENERS.get(language_of(snapshot).blocks or "", ())
    opens_block = bool(openers) and before.rstrip().endswith(openers) and not after.strip()
    starts_line = not before.strip() and not after.strip()
    one_line = multiline == "never" or (multiline == "auto" and not (starts_line or opens_block))
    indent = indent_width(before)
    above = text.data[text.line_span(line - 1)[1] : line_start] if line else b""
    return Site(
        line_before=before,
        line_after=after,
        below=below,
        one_line=one_line,
        floor=indent + 1 if opens_block else indent,
        line_end=text.data[line_end:next_start] or above or b"\n",  # the last line has none of its own
    )
