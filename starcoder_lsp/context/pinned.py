"""Pinned lines: the parts of a long file that the model sees although they are far from the cursor.

The most important come first:

1. The headers of the scopes around the cursor, the innermost first.
2. Imports; those first whose names the cursor's scope uses.
3. Signatures of definitions that the cursor's scope names.
4. Signatures of the other members of its class.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from attrs import frozen

from starcoder_lsp.context.outline import Outline
from starcoder_lsp.documents.documents import Snapshot
from starcoder_lsp.documents.embedded import embedded_at
from starcoder_lsp.documents.scopes import Scope
from starcoder_lsp.documents.text import Text
from starcoder_lsp.engine.tokens import N_BYTES_PER_TOKEN, Tokenizer

MIN_PINNED_TOKENS = 3
"""The search ends when less room is left: some files have thousands of imports. Not measured."""
MAX_NAMED_BYTES = 8192
"""A scope is searched for names up to this far from the cursor, in both directions. Not measured."""
NAME = re.compile(rb"[^\W\d]\w+")
"""A name has at least two characters; single letters occur everywhere."""

DOCSTRING = re.compile(rb"\s*[rRuU]?(\"{3}|'{3}|\"|')")
"""The start of a line that begins with a string: below a header, its docstring."""
MAX_DOCSTRING_LINES = 6
"""Only the first line of a longer docstring is pinned. Not measured."""


@frozen
class Span:
    """Pinned lines, whole: their byte range, their tokens and the reason."""

    start_byte: int
    end_byte: int
    n_tokens: int
    why: str


Wanted = tuple[int, int, str]
"""`(start_byte, end_byte, reason)` of text to pin."""


def pinned(snapshot: Snapshot, cursor_byte: int, scopes: Sequence[Scope], outline: Outline) -> Iterator[Wanted]:
    """Yield the lines to pin above those around the cursor, the most important first.

    `scopes` are those around the cursor, outermost first; `outline` has the definitions of the file.
    """
    yield from scope_headers(snapshot.text, scopes)
    names = _names(snapshot.text.data, cursor_byte, scopes)
    syntax = embedded_at(snapshot, cursor_byte).snapshot.syntax
    if syntax is not None:
        imports = _named_first(snapshot.text.data, syntax.imports(), names)
        yield from ((start_byte, end_byte, "imports") for start_byte, end_byte in imports)
    if scopes:
        yield from _signatures(names, cursor_byte, scopes, outline)


def scope_headers(text: Text, scopes: Sequence[Scope]) -> Iterator[Wanted]:
    """Yield the headers of the scopes around the cursor with their docstrings, the innermost first."""
    for scope in reversed(scopes):
        end_byte = _docstring_end(text, scope.header_end_byte)
        yield scope.start_byte, end_byte, f"header of {scope.kind} {scope.name}".strip()


def _docstring_end(text: Text, header_end_byte: int) -> int:
    """Return the end of the docstring below a header, or of its first line if it is long; else `header_end_byte`."""
    first = text.line_of(header_end_byte) + 1
    opening = DOCSTRING.match(text.line_text(first)) if first < text.n_lines else None
    if opening is None:
        return header_end_byte
    quotes, start = opening.group(1), text.line_starts[first] + opening.end()
    for line in range(first, min(first + MAX_DOCSTRING_LINES, text.n_lines)):
        end = text.line_span(line)[1]
        if text.data.find(quotes, start, end) >= 0:
            return end
    return text.line_span(first)[1]


def signatures_after(outline: Outline, byte: int) -> Iterator[Wanted]:
    """Yield the signatures of definitions from `byte` on, in order."""
    return ((*_header(scope), f"signature of {scope.name}") for scope in outline.below(byte))


def spans_of(
    snapshot: Snapshot, wanted: Iterable[Wanted], before_byte: int, n_tokens: int, tokenizer: Tokenizer
) -> tuple[Span, ...]:
    """Return the lines of `wanted` that start before `before_byte` and fit `n_tokens`, in the order of the file.

    Earlier entries of `wanted` go first. An entry that does not fit is skipped. The spans do not overlap.
    """
    return tuple(_merged(_fitting(snapshot, wanted, before_byte, n_tokens, tokenizer)))


def lines_of(text: Text, start_byte: int, end_byte: int) -> tuple[int, int]:
    """Extend a byte range to whole lines, with the last line's end."""
    last = text.line_of(max(start_byte, end_byte - 1))
    return text.line_starts[text.line_of(start_byte)], text.start_below(last)


def _names(data: bytes, cursor_byte: int, scopes: Sequence[Scope]) -> set[bytes]:
    """Return the names in the innermost scope; none outside of all scopes."""
    if not scopes:
        return set()
    start = max(scopes[-1].start_byte, cursor_byte - MAX_NAMED_BYTES)
    return set(NAME.findall(data[start : min(scopes[-1].end_byte, cursor_byte + MAX_NAMED_BYTES)]))


def _named_first(data: bytes, imports: Sequence[tuple[int, int]], names: set[bytes]) -> list[tuple[int, int]]:
    """Sort imports by their rarest name that the scope uses; imports without one come last.

    The rarest counts, since keywords such as `import` are in nearly all imports and in many scopes.
    """
    named = {span: names.intersection(NAME.findall(data[slice(*span)])) for span in imports}
    n_with = Counter(chain.from_iterable(named.values()))
    return sorted(imports, key=lambda span: min((n_with[name] for name in named[span]), default=len(imports) + 1))


def _signatures(names: set[bytes], cursor_byte: int, scopes: Sequence[Scope], outline: Outline) -> Iterator[Wanted]:
    """Yield definitions that the innermost scope names, the nearest first; then members of the cursor's class."""
    around = {scope.start_byte for scope in scopes}
    for scope in outline.named(names, cursor_byte):
        if scope.start_byte not in around:
            yield (*_header(scope), f"signature of {scope.name}, named here")
    owner = next((scope for scope in reversed(scopes) if scope.kind == "class"), None)
    if owner is not None:
        for scope in outline.above(cursor_byte, owner.start_byte + 1):
            if scope.start_byte not in around:
                yield (*_header(scope), f"member {scope.name} of {owner.name}")


def _header(scope: Scope) -> tuple[int, int]:
    return scope.start_byte, scope.header_end_byte


def _fitting(
    snapshot: Snapshot, wanted: Iterable[Wanted], before_byte: int, n_tokens: int, tokenizer: Tokenizer
) -> Iterator[Span]:
    """Yield the spans that fit, in the order of `wanted`, each once."""
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


def _merged(spans: Iterable[Span]) -> list[Span]:
    """Sort spans, and merge those that overlap or are adjacent with the same reason, such as imports."""
    ordered: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start_byte, -span.end_byte)):
        gap = span.start_byte - ordered[-1].end_byte if ordered else 1
        if gap > 0 or (gap == 0 and span.why != ordered[-1].why):
            ordered.append(span)
        elif span.end_byte > ordered[-1].end_byte:
            last = ordered.pop()
            ordered.append(Span(last.start_byte, span.end_byte, last.n_tokens + span.n_tokens, last.why))
    return ordered
