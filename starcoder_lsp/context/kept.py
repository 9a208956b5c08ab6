"""What of a long file stays in view far from it: the headers of the scopes around the cursor, and the imports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import evolve, frozen

from starcoder_lsp.documents.documents import Snapshot
from starcoder_lsp.engine.tokens import N_BYTES_PER_TOKEN, Tokenizer

N_SHORTEST_TOKENS = 3
"""With less room than this the search ends: some files have thousands of imports."""


@frozen
class Span:
    """Whole lines of the file: their bytes, what they take and why they are kept."""

    start_byte: int
    end_byte: int
    n_tokens: int
    why: str


def kept_spans(snapshot: Snapshot, cursor_byte: int, n_tokens: int, tokenizer: Tokenizer) -> tuple[Span, ...]:
    """The spans above the cursor's line, in the file's order and apart from each other.

    The innermost header comes first while they are chosen, then the next, then the imports from the top.
    """
    text = snapshot.text
    end = text.line_starts[text.line_of(cursor_byte)]
    chosen: list[Span] = []
    n_left = n_tokens
    for start_byte, end_byte, why in _wanted(snapshot, cursor_byte):
        if start_byte >= end:
            continue
        if n_left < N_SHORTEST_TOKENS:
            break
        span = _lines(snapshot, start_byte, min(end_byte, end), why)
        if span.end_byte - span.start_byte > 2 * n_left * N_BYTES_PER_TOKEN:
            continue
        n = len(tokenizer.encode(text.data[span.start_byte : span.end_byte]))
        if n <= n_left:
            chosen.append(evolve(span, n_tokens=n))
            n_left -= n
    return tuple(_apart(chosen))


def _wanted(snapshot: Snapshot, cursor_byte: int) -> Iterator[tuple[int, int, str]]:
    if snapshot.syntax is None:
        return
    for scope in reversed(snapshot.syntax.enclosing_scopes(cursor_byte)):
        yield scope.start_byte, scope.header_end_byte, f"header of {scope.kind} {scope.name}".strip()
    for start_byte, end_byte in snapshot.syntax.imports():
        yield start_byte, end_byte, "imports"


def _lines(snapshot: Snapshot, start_byte: int, end_byte: int, why: str) -> Span:
    """From the start of the first line to the start of the line behind the last one."""
    text = snapshot.text
    last = text.line_of(max(start_byte, end_byte - 1))
    end = text.line_starts[last + 1] if last + 1 < text.n_lines else len(text.data)
    return Span(text.line_starts[text.line_of(start_byte)], end, 0, why)


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
