"""Give the lines of a suggestion the indentation of the file.

Models write the unit that they have seen most. The first line begins at the cursor. A later line gets the level of an
earlier line, of the suggestion or of the file, that the model indented by the same width; otherwise it is one unit
deeper than the line before. A line's level depends on earlier lines alone, so the stop rule can run after each token.
"""

from __future__ import annotations

from attrs import evolve

from starcoder_lsp.suggestions.cursor_context import TAB_WIDTH, CursorContext
from starcoder_lsp.suggestions.indentation import BLANK, Indentation, Level, blank_of, width_of
from starcoder_lsp.suggestions.lexing import OPENER_OF, ends_in_string, open_brackets


def reindented(text: bytes, cursor: CursorContext) -> bytes:
    """Return `text` with the file's indentation on its later lines; unchanged if the file has no indented line."""
    first, newline, below = text.partition(b"\n")
    is_begun = bool(cursor.line_before.strip()) or text[:1] not in (b" ", b"\t")
    has_below = bool(newline) and not (cursor.line_before and not below.strip()) and not cursor.after(first).one_line
    if is_begun and not has_below:
        return text  # as `_Writer` would, but for lines that are not shown; to read the file's indentation takes 1 ms
    indentation = cursor.indentation()
    return _Writer(indentation, cursor).write(text) if indentation is not None else text


class _Writer:
    """Walks over the lines of a suggestion, and knows the level of each."""

    def __init__(self, indentation: Indentation, cursor: CursorContext) -> None:
        self.unit, self.cursor = indentation.unit, cursor
        self.levels = list(indentation.levels)
        self.last, self.last_blank = indentation.line_above, self.levels[-1].blank
        self.at_line_start = not cursor.line_before
        self.is_in_string = False
        """True for a line that begins inside a string: its blanks say nothing of the next one."""
        self.of_statement = self.last_blank, self.last_blank
        """The blanks that the last line outside of strings had, and those that it has now."""

    def write(self, text: bytes) -> bytes:
        """Return the text with its new indentation."""
        lines, written, at = text.split(b"\n"), list[bytes](), 0
        for number, line in enumerate(lines):
            is_first = number == 0 and not self.at_line_start
            self.is_in_string = False
            if is_first and not self.cursor.line_before.strip() and line.strip():
                written.append(self._begun(line))
            elif is_first or not line.strip():
                written.append(line)
            else:
                blank = blank_of(line)
                written.append(self._blank_for(line, blank, text[:at]) + line[len(blank) :])
            if line.strip():
                whole = (self.cursor.line_before if number == 0 else b"") + written[-1]
                self.last = whole
                self.last_blank = self.last_blank if self.is_in_string else blank_of(whole)
            elif is_first and self.cursor.line_before.strip():
                self.last = self.cursor.line_before
            at += len(line) + 1
        return b"\n".join(written)

    def _begun(self, line: bytes) -> bytes:
        """Return the first line without the space that would make an indentation of three columns one of four."""
        code, above = line.lstrip(BLANK), self.last
        blank = line[: len(line) - len(code)]
        is_whole = not blank.replace(self.unit, b"")
        if is_whole or not blank:
            return line
        last = self.levels[-1]
        meant = (width + len(blank) for width in last.widths)
        self.levels[-1] = evolve(last, widths=(*last.widths, *meant))
        is_open = self.cursor.opens_body(above) and width_of(above) >= width_of(self.cursor.line_before)
        return self.unit + code if is_open else code

    def _blank_for(self, line: bytes, blank: bytes, before: bytes) -> bytes:
        """Return the indentation of a line, behind `before`, that the model has given `blank`."""
        width, code = width_of(blank), line.lstrip(BLANK)
        if code.startswith(b"*") and self.last.lstrip(BLANK).startswith((b"/*", b"*")):
            return self.last_blank + (b" " if self.last.lstrip(BLANK).startswith(b"/*") else b"")
        if ends_in_string(self.cursor.line_before + before, has_comments=self.cursor.has_comments):
            self.is_in_string = True
            was, now = self.of_statement
            return now + blank[len(was) :] if was and blank.startswith(was) else blank
        written = self._blank_for_code(code, blank, width)
        self.of_statement = blank, written
        return written

    def _blank_for_code(self, code: bytes, blank: bytes, width: int) -> bytes:
        """Return the indentation of a line that begins outside of strings."""
        last, is_deeper = self.levels[-1], code[:1] not in OPENER_OF
        if blank and not blank.strip(b"\t") and self.unit == b"\t":  # its own tabs have no other width
            same = next((level for level in reversed(self.levels) if level.blank == blank), None)
            is_deeper &= width > width_of(last.blank)
        else:
            same = next((level for level in reversed(self.levels) if width in level.widths), None)
            is_deeper &= width > min(last.widths)
        if is_deeper and self.cursor.opens_body(self.last):
            return self._push(self.last_blank + self.unit, width)
        if same is not None:
            del self.levels[self.levels.index(same) + 1 :]
            self.levels[-1] = Level(same.blank, (width,))
            return same.blank
        if is_deeper:
            return self._continued(blank, width)
        near = min(self.levels, key=lambda level: min(abs(width - each) for each in level.widths))
        del self.levels[self.levels.index(near) + 1 :]
        self.levels[-1] = Level(near.blank, (width,))
        return near.blank

    def _continued(self, blank: bytes, width: int) -> bytes:
        """Return the indentation of a line that continues the last: aligned with a bracket, or a unit deeper."""
        is_own = not blank.strip(b"\t") if self.unit == b"\t" else b"\t" not in blank
        n_deeper = width - width_of(self.last_blank)
        is_whole = self.unit == b"\t" or n_deeper % len(self.unit) == 0
        opened = open_brackets(self.last, has_comments=self.cursor.has_comments)
        is_aligned = bool(opened) and len(self.last[: opened[-1] + 1].expandtabs(TAB_WIDTH)) == width
        if is_own and n_deeper > 0 and (is_whole or is_aligned):
            return self._push(blank, width)
        return self._push(self.last_blank + self.unit, width)

    def _push(self, blank: bytes, width: int) -> bytes:
        while self.levels and min(self.levels[-1].widths) >= width:
            self.levels.pop()
        self.levels.append(Level(blank, (width,)))
        return blank
