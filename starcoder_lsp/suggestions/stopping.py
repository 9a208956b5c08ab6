"""Stop rules: asked after every token, so that nothing is decoded which would be cut off afterwards."""

from __future__ import annotations

from starcoder_lsp.engine.engine import StopRule
from starcoder_lsp.suggestions.lines import looping_line, repeated_line, scope_end
from starcoder_lsp.suggestions.postprocess import whole_characters
from starcoder_lsp.suggestions.site import Site


def stop_rule(site: Site) -> StopRule:
    """The rule for one request: the reason to stop, or `None` to go on."""

    def stop(so_far: bytes) -> str | None:
        text = whole_characters(so_far, site)  # a token may end inside one, which says nothing yet
        whole_lines, newline, _ = text.rpartition(b"\n")  # the last line may go on, so it is not compared
        if not newline:
            return None
        if site.one_line:
            return "line_end"
        end = scope_end(text, site)
        if end is not None and end < len(text):
            return "scope_end"
        if repeated_line(whole_lines, site) is not None:
            return "suffix_reached"
        if looping_line(whole_lines) is not None:
            return "repetition"
        return None

    return stop
