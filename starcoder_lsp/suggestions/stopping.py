"""Stop rules: asked after every token, so that nothing is decoded which would be cut off afterwards."""

from __future__ import annotations

from starcoder_lsp.engine.engine import StopRule
from starcoder_lsp.suggestions.cursor_context import CursorContext
from starcoder_lsp.suggestions.lines import loop_start, repeated_line, scope_end, unmatched_closer
from starcoder_lsp.suggestions.suggestion import n_whole_bytes


def stop_rule(cursor: CursorContext) -> StopRule:
    """The rule for one request: the reason to stop, or `None` to go on."""

    def stop(so_far: bytes) -> str | None:
        text = so_far[: n_whole_bytes(so_far)]  # a token may end inside a character, which says nothing yet
        if unmatched_closer(text, cursor) is not None:
            return "unmatched_bracket"
        if loop_start(text, grew=True) is not None:
            return "repetition"
        first, newline, _ = text.partition(b"\n")
        if not newline:
            return None
        after = cursor.after(first)
        return "line_end" if after.one_line else _block_end(text, after)

    return stop


def _block_end(text: bytes, cursor: CursorContext) -> str | None:
    """Why a text of several lines ends, or `None`."""
    end = scope_end(text, cursor, may_go_on=True)
    if end is not None and end < len(text):
        return "scope_end"
    whole_lines = text.rpartition(b"\n")[0]  # the last line may go on, so it is not compared
    if repeated_line(whole_lines, cursor) is not None:
        return "suffix_reached"
    return None
