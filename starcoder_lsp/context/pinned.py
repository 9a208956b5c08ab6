"""What of a long file stays in view far from the cursor: headers of the scopes around it, imports, and signatures.

First the headers, the innermost one first, then the imports, those that the cursor's scope names before the others,
then the signatures of what it names, then those of the other members of its class: their bodies are left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from attrs import evolve, frozen

from starcoder_lsp.documents.documents import Snapshot
from starcoder_lsp.documents.scopes import Scope
from starcoder_lsp.documents.text import Text
from starcoder_lsp.engine.tokens import N_BYTES_PER_TOKEN, Tokenizer

MIN_PINNED_TOKENS = 3
"""With less room than this the search ends: some files have thousands of imports."""
N_NAMED_BYTES = 8192
"""Of a scope that is larger than this, only what is nearest to the cursor is searched for names."""
NAME = re.compile(rb"[^\W\d]\w+")
"""A name of two characters or more; single letters stand everywhere."""

DOCSTRING = re.compile(rb"\s*[rRuU]?(\"{3}|'{3}|\"|')")
"""A line that begins with a string; below a header it documents it."""
N_DOCSTRING_LINES = 6
"""A longer docstring is shown by its first line."""


@frozen
class Span:
    """Whole lines of the file: their bytes, what they take and why they are kept."""

    start_byte: int
    end_byte: int
    n_tokens: int
    why: str


Wanted = tuple[int, int, str]
"""Where something begins and ends, and why it is wanted."""


def pinned(snapshot: Snapshot, cursor_byte: int, scopes: Sequence[Scope], outline: Sequence[Scope]) -> Iterator[Wanted]:
    """What is wanted above the lines around a cursor, the most important first.

    `scopes` are those around the cursor, outermost first, `outline` the definitions of the file.
    """
    yield from headers(snapshot.text, scopes)
    names = _names(snapshot.text.data, cursor_byte, scopes)
    if snapshot.syntax is not None:
        imports = _named_first(snapshot.text.data, snapshot.syntax.imports(), names)
        yield from ((start_byte, end_byte, "imports") for start_byte, end_byte in imports)
    if scopes and outline:
        yield from _signatures(names, cursor_byte, scopes, outline)


def headers(text: Text, scopes: Sequence[Scope]) -> Iterator[Wanted]:
    """The headers of the scopes around a cursor with their docstrings, the innermost first."""
    for scope in reversed(scopes):
        end_byte = _docstring_end(text, scope.header_end_byte)
        yield scope.start_byte, end_byte, f"header of {scope.kind} {scope.name}".strip()


def _docstring_end(text: Text, header_end_byte: int) -> int:
    """The end of the docstring below a header, of its first line if it is long; `header_end_byte` if there is none."""
    first = text.line_of(header_end_byte) + 1
    opening = DOCSTRING.match(text.line_text(first)) if first < text.n_lines else None
    if opening is None:
        return header_end_byte
    quotes, start = opening.group(1), text.line_starts[first] + opening.end()
    for line in range(first, min(first + N_DOCSTRING_LINES, text.n_lines)):
        end = text.line_span(line)[1]
        if text.data.find(quotes, start, end) >= 0:
            return end
    return text.line_span(first)[1]


def following(outline: Sequence[Scope], behind_byte: int) -> Iterator[Wanted]:
    """Signatures of what is defined behind `behind_byte`, the next ones first."""
    return ((*_header(scope), f"signature of {scope.name}") for scope in outline if scope.start_byte >= behind_byte)


def spans_of(
    snapshot: Snapshot, wanted: Iterable[Wanted], before_byte: int, n_tokens: int, tokenizer: Tokenizer
) -> tuple[Span, ...]:
    """What of `wanted` begins above `before_byte` and fits, in the file's order and apart from each other.

    The first ones have the first claim on `n_tokens`; what does not fit any more is left out.
    """
    return tuple(_apart(_fitting(snapshot, wanted, before_byte, n_tokens, tokenizer)))


def lines_of(text: Text, start_byte: int, end_byte: int) -> tuple[int, int]:
    """From the start of the first line to the start of the line behind the last one."""
    last = text.line_of(max(start_byte, end_byte - 1))
    end = text.line_starts[last + 1] if last + 1 < text.n_lines else len(text.data)
    return text.line_starts[text.line_of(start_byte)], end


def _names(data: bytes, cursor_byte: int, scopes: Sequence[Scope]) -> set[bytes]:
    """What the innermost scope names; nothing outside of all scopes."""
    if not scopes:
        return set()
    start = max(scopes[-1].start_byte, cursor_byte - N_NAMED_BYTES)
    return set(NAME.findall(data[start : min(scopes[-1].end_byte, cursor_byte + N_NAMED_BYTES)]))


def _named_first(data: bytes, imports: Sequence[tuple[int, int]], names: set[bytes]) -> list[tuple[int, int]]:
    """Imports by the rarest name in them that the scope has too; those without one come last.

    A keyword is in nearly all of them, so that one which the scope has as well says little.
    """
    named = {span: names.intersection(NAME.findall(data[slice(*span)])) for span in imports}
    n_with = Counter(chain.from_iterable(named.values()))
    return sorted(imports, key=lambda span: min((n_with[name] for name in named[span]), default=len(imports) + 1))


def _signatures(
    names: set[bytes], cursor_byte: int, scopes: Sequence[Scope], outline: Sequence[Scope]
) -> Iterator[Wanted]:
    """What the innermost scope names, the nearest first; then the members of the class around the cursor."""
    around = {scope.start_byte for scope in scopes}
    above = [scope for scope in reversed(outline) if scope.start_byte < cursor_byte and scope.start_byte not in around]
    for scope in above:
        if scope.name.encode() in names:
            yield (*_header(scope), f"signature of {scope.name}, named here")
    owner = next((scope for scope in reversed(scopes) if scope.kind == "class"), None)
    if owner is not None:
        for scope in above:
            if scope.start_byte > owner.start_byte:
                yield (*_header(scope), f"member {scope.name} of {owner.name}")


def _header(scope: Scope) -> tuple[int, int]:
    return scope.start_byte, scope.header_end_byte


def _fitting(
    snapshot: Snapshot, wanted: Iterable[Wanted], before_byte: int, n_tokens: int, tokenizer: Tokenizer
) -> Iterator[Span]:
    """Those that fit, in the order in which they are wanted; what is wanted twice is there once."""
    text, n_left, seen = snapshot.text, n_tokens, set()
    for start_byte, end_byte, why in wanted:
        if start_byte >= before_byte or start_byte in seen:
            continue
        if n_left < MIN_PINNED_TOKENS:
            break
        start, end = lines_of(text, start_byte, end_byte)
        if end - start > 2 * n_left * N_BYTES_PER_TOKEN:
            continue
        n = len(tokenizer.encode(text.data[start:end]))
        if n <= n_left:
            seen.add(start_byte)
            n_left -= n
            yield Span(start, end, n, why)


def _apart(spans: Iterable[Span]) -> list[Span]:
    """In order and without what they share; imports that follow each other are one."""
    ordered: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start_byte, -span.end_byte)):
        gap = span.start_byte - ordered[-1].end_byte if ordered else 1
        if gap > 0 or (gap == 0 and span.why != ordered[-1].why):
            ordered.append(span)
        elif span.end_byte > ordered[-1].end_byte:
            last = ordered.pop()
            ordered.append(evolve(last, end_byte=span.end_byte, n_tokens=last.n_tokens + span.n_tokens))
    return ordered
