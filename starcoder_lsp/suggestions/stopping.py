"""The stop rule, called after every token: it ends the generation where a filter would cut the text anyway."""

from __future__ import annotations

from enum import StrEnum

from starcoder_lsp.engine.engine import StopRule
from starcoder_lsp.suggestions.cursor_context import CursorContext
from starcoder_lsp.suggestions.docstrings import docstring_start
from starcoder_lsp.suggestions.lines import repeated_line, scope_end, unmatched_closer
from starcoder_lsp.suggestions.loops import loop_start
from starcoder_lsp.suggestions.reindent import reindented
from starcoder_lsp.suggestions.suggestion import n_whole_bytes


class TextEnd(StrEnum):
    """The reason why a text is complete by its syntax."""

    UNMATCHED_BRACKET = "unmatched_bracket"
    REPETITION = "repetition"
    LINE_END = "line_end"
    SCOPE_END = "scope_end"
    SUFFIX_REACHED = "suffix_reached"
    DOCSTRING = "docstring"


def stop_rule(cursor: CursorContext) -> StopRule:
    """Return the rule for one request: it returns the reason to stop, or `None` to go on."""

    def stop(so_far: bytes) -> TextEnd | None:
        whole = so_far[: n_whole_bytes(so_far)]  # a token may end inside a character, which says nothing yet
        text = reindented(whole, cursor)
        if unmatched_closer(text, cursor, may_go_on=True) is not None:
            return TextEnd.UNMATCHED_BRACKET
        if loop_start(text, cursor, grew=True) is not None:
            return TextEnd.REPETITION
        if docstring_start(text, cursor, only_prepared=True) is not None:
            return TextEnd.DOCSTRING
        first, newline, _ = text.partition(b"\n")
        if not newline:
            return None
        after = cursor.after(first)
        return TextEnd.LINE_END if after.one_line else _block_end(text, after)

    return stop


def _block_end(text: bytes, cursor: CursorContext) -> TextEnd | None:
    """Return the reason why a text of several lines is complete, or `None`."""
    end = scope_end(text, cursor, may_go_on=True)
    if end is not None and end < len(text):
        return TextEnd.SCOPE_END
    whole_lines = text.rpartition(b"\n")[0]  # the last line may go on, so it is not compared
    if repeated_line(whole_lines, cursor) is not None:
        return TextEnd.SUFFIX_REACHED
    return None
