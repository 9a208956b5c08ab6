"""From the model's text to a suggestion: one ordered tuple of pure filters, which shorten or drop and never add."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from starcoder_lsp.suggestions.lines import looping_line, repeated_line, scope_end
from starcoder_lsp.suggestions.site import SEPARATORS, Site

Filter = Callable[[bytes, Site], bytes]
OPENER_OF = {ord(")"): ord("("), ord("]"): ord("["), ord("}"): ord("{")}
N_SHORTEST_TAIL_BYTES = 4
"""The rest of the line counts as repeated from this length on; single closers have a filter of their own."""


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
    tail = site.line_after.strip()
    if len(tail) >= N_SHORTEST_TAIL_BYTES and text.rstrip().endswith(tail):
        return text.rstrip()[: -len(tail)]
    return text


def without_extra_closers(text: bytes, site: Site) -> bytes:
    """Do not write closing brackets that stand behind the cursor and that the suggestion did not open."""
    after, kept = site.line_after.lstrip(), text.rstrip()
    for n in range(min(len(after), len(kept)), 0, -1):
        tail = kept[-n:]
        closers = set(tail) - set(SEPARATORS)
        if closers and after.startswith(tail) and all(_is_unopened(c, tail.count(c), kept) for c in closers):
            return kept[:-n]
    return text


def no_trailing_space(text: bytes, _site: Site) -> bytes:
    """End with something that can be seen; nothing but white space is nothing."""
    return text.rstrip()


def _is_unopened(closer: int, n_closers: int, text: bytes) -> bool:
    """Whether `closer` is a closing bracket of which `text` has at least `n_closers` more than it opens."""
    return closer in OPENER_OF and text.count(closer) - text.count(OPENER_OF[closer]) >= n_closers


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
