"""Where a suggestion leaves the scope that it writes: asked while it is generated and once more when it is done."""

from __future__ import annotations

from starcoder_lsp.suggestions.site import Site, indent_width, only_closes

N_SHORTEST_REPEATED_BYTES = 4
"""A following line shorter than this (`}`, `end`, `pass` is just long enough) stands there often by chance."""


def scope_end(text: bytes, site: Site) -> int | None:
    """The byte at which `text` leaves the site's scope, or `None`.

    The scope is left by a line that is indented less than the site's floor, or by one that stands at the floor below
    an empty line: a new paragraph. A line that only closes what the suggestion opened belongs to it, unless the
    document has it already.
    """
    at, wrote, after_blank = 0, bool(site.line_before.strip()), False
    for number, line in enumerate(text.split(b"\n")):
        end = at + len(line)
        if line.strip():
            outside = number > 0 and indent_width(line) < site.floor
            if outside and only_closes(line) and not site.below.lstrip().startswith(line.strip()):
                return end
            if outside or (number > 0 and wrote and after_blank and indent_width(line) <= site.floor):
                return max(0, at - 1)
            wrote, after_blank = True, False
        else:
            after_blank = wrote
        at = end + 1
    return None


def repeated_line(text: bytes, site: Site) -> int | None:
    """The byte at which `text` begins to repeat the first line below the cursor, or `None`."""
    target = next((line.strip() for line in site.below.split(b"\n") if line.strip()), b"")
    if len(target) < N_SHORTEST_REPEATED_BYTES:
        return None
    at = 0
    for number, line in enumerate(text.split(b"\n")):
        if number > 0 and line.strip() == target:
            return max(0, at - 1)
        at += len(line) + 1
    return None


def looping_line(text: bytes) -> int | None:
    """The byte behind the first of three equal lines in a row, or `None`."""
    lines = text.split(b"\n")
    at = 0
    for first, second, third in zip(lines, lines[1:], lines[2:], strict=False):
        at += len(first)
        if first.strip() and first == second == third:
            return at
        at += 1
    return None
