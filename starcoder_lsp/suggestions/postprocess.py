"""From the model's text to a suggestion: one ordered tuple of pure filters, which shorten or drop and never add."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from starcoder_lsp.suggestions.lines import is_unopened, looping_line, repeated_line, scope_end
from starcoder_lsp.suggestions.site import SEPARATORS, Site

Filter = Callable[[bytes, Site], bytes]
N_SHORTEST_TAIL_BYTES = 4
"""The rest of the line counts as repeated from this length on, or if it begins with a bracket that was not opened."""


@frozen
class FilterEffect:
    """What one filter did: `"kept"`, `"dropped"`, or how many bytes it cut."""

    name: str
    effect: str


def whole_characters(text: bytes, _site: Site) -> bytes:
    """Cut a character that the last token left unfinished, and everything from a byte that is no UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return text[: error.start]
    return text


def within_line(text: bytes, site: Site) -> bytes:
    """End with the line where a single line is asked for."""
    return text.partition(b"\n")[0] if site.one_line else text


def within_scope(text: bytes, site: Site) -> bytes:
    """End where the enclosing scope ends."""
    return text[: scope_end(text, site)]


def before_repeat(text: bytes, site: Site) -> bytes:
    """End before the first line below is written again, and before a loop."""
    text = text[: repeated_line(text, site)]
    return text[: looping_line(text)]


def without_line_tail(text: bytes, site: Site) -> bytes:
    """Do not write again what stands behind the cursor on its line."""
    tail, kept = site.line_after.strip(), text.rstrip()
    if tail and kept.endswith(tail) and (len(tail) >= N_SHORTEST_TAIL_BYTES or is_unopened(tail[:1], kept)):
        return kept[: -len(tail)]
    return text


def without_extra_closers(text: bytes, site: Site) -> bytes:
    """Do not write closing brackets that stand behind the cursor and were not opened here, nor separators."""
    after, kept = site.line_after.lstrip(), text.rstrip()
    for n in range(min(len(after), len(kept)), 0, -1):
        tail = kept[-n:]
        closers = tail.translate(None, SEPARATORS)
        if after.startswith(tail) and (not closers or is_unopened(closers, kept)):
            return kept[:-n]
    return text


def no_trailing_space(text: bytes, _site: Site) -> bytes:
    """End with something that can be seen; nothing but white space is nothing."""
    return text.rstrip()


FILTERS: tuple[Filter, ...] = (
    whole_characters,
    within_line,
    within_scope,
    before_repeat,
    without_line_tail,
    without_extra_closers,
    no_trailing_space,
)


def postprocess(text: bytes, site: Site) -> tuple[bytes, tuple[FilterEffect, ...]]:
    """Run every filter in order; return the suggestion and what each did."""
    effects = []
    for apply in FILTERS:
        shorter = apply(text, site)
        n_cut = len(text) - len(shorter)
        effect = "kept" if not n_cut else f"cut {n_cut} bytes" if shorter else "dropped"
        effects.append(FilterEffect(apply.__name__, effect))
        text = shorter
    return text, tuple(effects)
