"""Where a suggestion leaves the scope that it writes: asked while it is generated and once more when it is done."""

from __future__ import annotations

from starcoder_lsp.suggestions.site import SEPARATORS, Site, indent_width, only_closes

N_SHORTEST_REPEATED_BYTES = 4
"""A following line shorter than this (`}`, `end`, `pass` is just long enough) stands there often by chance."""
OPENER_OF = {ord(")"): ord("("), ord("]"): ord("["), ord("}"): ord("{")}


def scope_end(text: bytes, site: Site) -> int | None:
    """The byte at which `text` leaves the site's scope, or `None`.

    The scope is left by a line that is indented less than the site's floor, or by one that stands at the floor below
    an empty line: a new paragraph. Brackets at the start of such a line close what was opened and belong to it, unless
    the document has them already. If the answer is the length of `text`, more brackets may follow.
    """
    at, wrote, after_blank = 0, bool(site.line_before.strip()), False
    for number, line in enumerate(text.split(b"\n")):
        end = at + len(line)
        if line.strip():
            outside = number > 0 and indent_width(line) < site.floor
            n_closing = _n_closing(line) if outside and not _is_below(line, site) else 0
            if n_closing:
                return at + n_closing
            if outside or (number > 0 and wrote and after_blank and indent_width(line) <= site.floor):
                return max(0, at - 1)
            wrote, after_blank = True, False
        else:
            after_blank = wrote
        at = end + 1
    return None


def repeated_line(text: bytes, site: Site) -> int | None:
    """The byte at which `text` begins to repeat the first line below the cursor, or `None`.

    A short line counts if it closes something that `text` did not open, and stands at the same depth.
    """
    target = first_line(site.below).strip()
    is_long = len(target) >= N_SHORTEST_REPEATED_BYTES
    at = 0
    for number, line in enumerate(text.split(b"\n")):
        end = at + len(line)
        if (
            number > 0
            and target
            and line.strip() == target
            and (is_long or (_is_below(line, site) and is_unopened(target.rstrip(SEPARATORS), text[:end])))
        ):
            return max(0, at - 1)
        at = end + 1
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


def first_line(text: bytes) -> bytes:
    """The first line that is not blank, or nothing."""
    return next((line for line in text.split(b"\n") if line.strip()), b"")


def is_unopened(closers: bytes, text: bytes) -> bool:
    """Whether `closers` are closing brackets that `text`, which has them, has not opened."""
    return bool(closers) and all(
        closer in OPENER_OF and text.count(closer) - text.count(OPENER_OF[closer]) >= closers.count(closer)
        for closer in closers
    )


def _n_closing(line: bytes) -> int:
    """How many bytes of `line` only close: all of it, or the brackets at its start."""
    if only_closes(line):
        return len(line)
    n_blank = len(line) - len(line.lstrip())
    n_brackets = len(line) - n_blank - len(line.lstrip().lstrip(bytes(OPENER_OF)))
    return n_blank + n_brackets if n_brackets else 0


def _is_below(line: bytes, site: Site) -> bool:
    """Whether the document goes on below with what `line` is, at the same depth."""
    below = first_line(site.below)
    closing = line[: _n_closing(line)].strip().rstrip(SEPARATORS) or line.strip()
    return indent_width(below) == indent_width(line) and below.strip().startswith(closing)
