"""Choose snippets: pieces of other files that the model sees.

The most useful come first:

1. Definitions of imported names that occur near the cursor.
2. Recently edited lines.
3. The window of each open document that is most similar to the lines around the cursor.
4. Headers of imported definitions whose names do not occur near the cursor.

A weak snippet is worse than none, so windows must pass a threshold, and lines that the model sees anyway do not
count. Work is limited by counts, never by time: the same state of the session gives the same snippets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from starcoder_lsp.context.imported import WORD_BYTES, imported_definitions, words
from starcoder_lsp.context.similarity import (
    IDENTIFIER,
    MAX_LINE_BYTES,
    WINDOW_LINES,
    identifiers,
    most_similar,
    similarity,
)
from starcoder_lsp.context.snippet import Snippet, SnippetRoom, Sources
from starcoder_lsp.documents.documents import Snapshot, unreadable_reason
from starcoder_lsp.documents.secrets import has_key
from starcoder_lsp.documents.text import Text
from starcoder_lsp.documents.uris import path_of
from starcoder_lsp.documents.workspace import MAX_FILE_BYTES, Workspace, WorkspaceContext, workspace_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from starcoder_lsp.engine.tokens import Tokenizer

N_LINES_ABOVE: Final = 20
"""Lines above the cursor whose identifiers are compared with other files, as in RepoCoder."""
N_LINES_BELOW: Final = 10
"""Lines below the cursor, for the same. Not measured."""
MIN_SIMILARITY: Final = 0.175
"""The most similar window of a file passes in 1 of 500 files of other packages, and in 1 of 15 of the same package
(Python; the command was not kept)."""
MIN_SIMILARITY_OF_EDITS: Final = 0.1
"""Recent edits belong to what the user does now, so a lower similarity is enough. Not measured."""
MAX_DOCUMENTS: Final = 64
MAX_EDITS: Final = 16
"""Open documents and recent edits that are compared. Neither is measured."""
MAX_VISIBLE_SHARE: Final = 0.85
"""Skip a snippet if this share of its lines is visible already. Below that, high overlap is good: the lines that differ
are often the answer. Not measured."""
N_VISIBLE_LINES: Final = 100
"""Lines above and below the cursor that count as visible to the model. Not measured."""

_NAMED_AT_CURSOR, _EDITED, _SIMILAR, _IMPORTED = 3, 2, 1, 0


@frozen
class _Piece:
    """Lines of a document that may become a snippet or a part of one. They count from 0 and ascend.

    The most useful have the highest `rank`. `fewer` replaces `lines` if those do not fit. A definition has a `name`,
    any other piece a reason `why`.
    """

    rank: tuple[int, float]
    document: Snapshot
    lines: tuple[int, ...]
    fewer: tuple[int, ...]
    name: str = ""
    why: str = ""


def choose_snippets(
    snapshot: Snapshot,
    cursor_byte: int,
    around: WorkspaceContext,
    sources: Sources,
    room: SnippetRoom,
) -> tuple[Snippet, ...]:
    """Return the snippets that fit `room`, the most useful first, at most one of each file."""
    workspace = workspace_at(around.root)
    workspace.check_again()
    own_path = path_of(snapshot.uri)
    documents: dict[str, Snapshot] = {}
    for document in around.open_documents[:MAX_DOCUMENTS]:
        path = path_of(document.uri)
        if path != own_path and len(document.text.data) <= MAX_FILE_BYTES and unreadable_reason(document) is None:
            documents.setdefault(path, document)
    surroundings = _Surroundings.of(snapshot, cursor_byte, workspace, documents, sources.disabled_globs)
    pieces: list[_Piece] = []
    if sources.imports:
        pieces += _definitions(snapshot, surroundings)
    if sources.recent_edits:
        pieces += _edited(around.recent_edits[:MAX_EDITS], surroundings)
    if sources.open_files:
        pieces += _similar(surroundings)
    pieces.sort(key=lambda piece: piece.rank, reverse=True)
    return _selected(pieces, surroundings, room)


@frozen
class _Surroundings:
    """The cursor's surroundings, and the files to choose from.

    `identifiers` and `words` are those near the cursor, `visible` has the lines that the model sees anyway.
    """

    path: str
    identifiers: frozenset[bytes]
    words: frozenset[str]
    visible: frozenset[bytes]
    workspace: Workspace
    open_documents: dict[str, Snapshot]
    disabled_globs: tuple[str, ...]

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        cursor_byte: int,
        workspace: Workspace,
        documents: dict[str, Snapshot],
        disabled_globs: tuple[str, ...],
    ) -> _Surroundings:
        """Read the text near the cursor, without the cursor's own word: that changes with each keystroke."""
        above, below = _around(snapshot.text, cursor_byte, N_LINES_ABOVE, N_LINES_BELOW)
        near = b"%s\n%s" % (above.rstrip(WORD_BYTES), below.lstrip(WORD_BYTES))
        visible = b"".join(_around(snapshot.text, cursor_byte, N_VISIBLE_LINES, N_VISIBLE_LINES))
        return cls(
            path_of(snapshot.uri),
            identifiers(near),
            words(near),
            _content(visible.splitlines()),
            workspace,
            documents,
            disabled_globs,
        )

    def document(self, path: str) -> Snapshot | None:
        """Return the document at a path, open or read from disk; `None` if the model may not see it."""
        if path == self.path:
            return None
        if path in self.open_documents:
            document = self.open_documents[path]
            may_be_shown = self.workspace.may_be_shown(path, self.disabled_globs) and not has_key(document.text.data)
            return document if may_be_shown else None
        return self.workspace.read(path, self.disabled_globs)


def _around(text: Text, cursor_byte: int, n_above: int, n_below: int) -> tuple[bytes, bytes]:
    line = text.line_of(cursor_byte)
    start = text.line_starts[max(line - n_above, 0)]
    end = text.line_starts[line + n_below + 1] if line + n_below + 1 < text.n_lines else len(text.data)
    start = max(start, cursor_byte - n_above * MAX_LINE_BYTES)
    return text.data[start:cursor_byte], text.data[cursor_byte : min(end, cursor_byte + n_below * MAX_LINE_BYTES)]


def _content(lines: Iterable[bytes]) -> frozenset[bytes]:
    """Return the lines that have an identifier, without indentation."""
    return frozenset(line.strip() for line in lines if IDENTIFIER.search(line))


# The kinds of pieces


def _definitions(snapshot: Snapshot, surroundings: _Surroundings) -> Iterator[_Piece]:
    root = surroundings.workspace.root_of(surroundings.path)
    if root is None:
        return
    for definition in imported_definitions(
        snapshot, surroundings.path, root, surroundings.words, surroundings.document
    ):
        is_near = definition.name in surroundings.words
        lines = definition.lines if is_near else definition.header
        rank = (_NAMED_AT_CURSOR if is_near else _IMPORTED), 0.0
        yield _Piece(rank, definition.document, lines, definition.header, definition.name)


def _similar(surroundings: _Surroundings) -> Iterator[_Piece]:
    for path, document in surroundings.open_documents.items():
        found = most_similar(surroundings.identifiers, document.text.data, MIN_SIMILARITY)
        if found is not None and surroundings.document(path) is not None:
            start, end, alike = found
            why = "open file similar to the lines around the cursor"
            yield _window_piece(document, start, end, (_SIMILAR, alike), why)


def _edited(recent_edits: Iterable[tuple[str, int, int]], surroundings: _Surroundings) -> Iterator[_Piece]:
    done = {surroundings.path}
    for age, (uri, first_line, last_line) in enumerate(recent_edits):
        path = path_of(uri)
        document = surroundings.document(path) if path not in done else None
        if document is None:
            continue
        text = document.text
        start = (max(first_line, 0) + max(last_line, 0) - WINDOW_LINES + 1) // 2
        start = max(min(start, text.n_lines - WINDOW_LINES), 0)
        end = min(start + WINDOW_LINES, text.n_lines)
        window = text.data[text.line_starts[start] : text.line_span(end - 1)[1]]
        is_code = len(window) <= WINDOW_LINES * MAX_LINE_BYTES
        if is_code and similarity(surroundings.identifiers, identifiers(window)) > MIN_SIMILARITY_OF_EDITS:
            done.add(path)
            yield _window_piece(document, start, end, (_EDITED, -float(age)), "edited recently")


def _window_piece(document: Snapshot, start: int, end: int, rank: tuple[int, float], why: str) -> _Piece:
    while start < end and not document.text.line_text(start).strip():
        start += 1
    while start < end and not document.text.line_text(end - 1).strip():
        end -= 1
    lines = tuple(range(start, end))
    n_half = (len(lines) + 1) // 2
    middle = len(lines) // 4
    return _Piece(rank, document, lines, lines[middle : middle + n_half], why=why)


# The selection


def _selected(pieces: Iterable[_Piece], surroundings: _Surroundings, room: SnippetRoom) -> tuple[Snippet, ...]:
    """Take the best pieces that fit, skip those that are visible by then, and join those of each file."""
    visible = set(surroundings.visible)
    chosen: dict[str, list[_Piece]] = {}
    snippets: dict[str, tuple[Snippet, int]] = {}
    n_left = room.n_tokens
    for piece in pieces:
        path = path_of(piece.document.uri)
        name = surroundings.workspace.name_of(path)
        n_of_file = snippets[path][1] if path in snippets else 0
        earlier = chosen.get(path, [])
        for lines in dict.fromkeys((piece.lines, piece.fewer)):
            content = _content(map(piece.document.text.line_text, lines))
            is_taken = any(not set(lines).isdisjoint(other.lines) for other in earlier)
            if is_taken or len(content & visible) >= MAX_VISIBLE_SHARE * len(content):
                continue
            together = [*earlier, evolve(piece, lines=lines)]
            snippet = _joined(name, together, room.tokenizer)
            n = room.n_tokens_in_prompt(name, snippet.ids)
            if n - n_of_file <= n_left:
                n_left -= n - n_of_file
                chosen[path], snippets[path] = together, (snippet, n)
                visible |= content
                break
    ranked = sorted(chosen, key=lambda path: (max(piece.rank for piece in chosen[path]), path), reverse=True)
    return tuple(snippets[path][0] for path in ranked)


def _joined(path: str, pieces: Sequence[_Piece], tokenizer: Tokenizer) -> Snippet:
    text = pieces[0].document.text
    lines = sorted({line for piece in pieces for line in piece.lines})
    shown = b"".join(text.line_text(line) + b"\n" for line in lines)
    names = ", ".join(dict.fromkeys(piece.name for piece in pieces if piece.name))
    defines = f"defines {names}, imported here" if names else ""
    why = "; ".join(filter(None, dict.fromkeys((defines, *(piece.why for piece in pieces)))))
    start, end = text.line_starts[lines[0]], text.line_span(lines[-1])[1]
    return Snippet(path, start, end, lines[0] + 1, lines[-1] + 1, shown, tokenizer.encode(shown), why)
