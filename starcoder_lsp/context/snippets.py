"""Which pieces of other files the model sees: definitions of what is imported, and lines like those at the cursor.

A weak piece hurts more than none, so there is a threshold for likeness, and what the model sees anyway is left out.
From the most useful to the least: definitions of imported names that stand near the cursor, with small bodies; what was
edited lately; the window of each open document that is most like the lines around the cursor; the headers of what is
imported and not near.

Everything is bounded, and nothing here depends on the time: the same surroundings give the same pieces.
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
from starcoder_lsp.documents.documents import Snapshot, unreadable_reason
from starcoder_lsp.documents.text import Text
from starcoder_lsp.documents.uris import path_of
from starcoder_lsp.documents.workspace import MAX_FILE_BYTES, Workspace, WorkspaceContext, workspace_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from starcoder_lsp.engine.tokens import Tokenizer

N_ABOVE: Final = 20
"""Lines above the cursor's that say what the code there is about, as in RepoCoder."""
N_BELOW: Final = 10
MIN_SIMILARITY: Final = 0.175
"""Of the windows most alike in files of other packages, 1 in 500 is above, of the same package 1 in 15 (Python)."""
MIN_SIMILARITY_OF_EDITS: Final = 0.1
"""What was edited lately belongs to what is being done now; it needs to be less alike."""
N_DOCUMENTS: Final = 64
N_EDITS: Final = 16
KNOWN_SHARE: Final = 0.85
"""A piece of which the model sees this share of the lines anyway tells it nothing. The few other lines of what is much
alike are worth most."""
N_KNOWN_LINES: Final = 100
"""Lines on either side of the cursor which the model is taken to see."""

_NAMED_AT_CURSOR, _EDITED, _SIMILAR, _IMPORTED = 3, 2, 1, 0


@frozen
class Sources:
    """Which kinds of pieces are wanted, and the globs of files that are never shown: part of the settings."""

    open_files: bool = True
    recent_edits: bool = True
    imports: bool = True
    disabled_globs: tuple[str, ...] = ()


@frozen
class Snippet:
    r"""A piece of another file: whole lines of it, in order, some in between left out where bodies are elided.

    `path` is relative to the workspace's root, with "/"; the bare name of a file outside. `start_byte` and `end_byte`
    are those of the first and the last line in that file's text, `start_line` and `end_line` count from 1, the end
    inclusive. `text` has `\n` line ends, `ids` are its token ids, `why` is for people.
    """

    path: str
    start_byte: int
    end_byte: int
    start_line: int
    end_line: int
    text: bytes
    ids: tuple[int, ...]
    why: str


@frozen
class SnippetRoom:
    """The room for snippets in a prompt: `n_tokens` for all of them.

    `n_tokens_in_prompt` is what one takes, by its path and its token ids, with all that the prompt's layout adds.
    """

    n_tokens: int
    tokenizer: Tokenizer
    n_tokens_in_prompt: Callable[[str, tuple[int, ...]], int]


@frozen
class _Piece:
    """Lines of a document, from 0, in order, that may become a snippet or a part of one.

    `rank` is how useful they are. `fewer` are the lines to show where `lines` take too much room. `name` is what they
    define; empty where they do not, and `why` says it.
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
    """Return the pieces worth showing that fit `room`, the most useful first, at most one of each file."""
    workspace = workspace_at(around.root)
    workspace.look_again()
    own_path = path_of(snapshot.uri)
    documents: dict[str, Snapshot] = {}
    for document in around.open_documents[:N_DOCUMENTS]:
        path = path_of(document.uri)
        if path != own_path and len(document.text.data) <= MAX_FILE_BYTES and unreadable_reason(document) is None:
            documents.setdefault(path, document)
    place = _Place.of(snapshot, cursor_byte, workspace, documents, sources.disabled_globs)
    pieces: list[_Piece] = []
    if sources.imports:
        pieces += _definitions(snapshot, place)
    if sources.recent_edits:
        pieces += _edited(around.recent_edits[:N_EDITS], place)
    if sources.open_files:
        pieces += _similar(place)
    pieces.sort(key=lambda piece: piece.rank, reverse=True)
    return _selected(pieces, place, room)


@frozen
class _Place:
    """Where a completion is wanted, and what else there is.

    `near` are the identifiers near the cursor, `names` all words there, `seen` the lines that the model sees anyway.
    """

    path: str
    near: frozenset[bytes]
    names: frozenset[str]
    seen: frozenset[bytes]
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
    ) -> _Place:
        """The word that the cursor is in counts for nothing: it is different at each keystroke."""
        above, below = _around(snapshot.text, cursor_byte, N_ABOVE, N_BELOW)
        near = b"%s\n%s" % (above.rstrip(WORD_BYTES), below.lstrip(WORD_BYTES))
        seen = b"".join(_around(snapshot.text, cursor_byte, N_KNOWN_LINES, N_KNOWN_LINES))
        return cls(
            path_of(snapshot.uri),
            identifiers(near),
            words(near),
            _content(seen.splitlines()),
            workspace,
            documents,
            disabled_globs,
        )

    def document(self, path: str) -> Snapshot | None:
        """The document at a path, open or read, if it may be shown."""
        if path == self.path:
            return None
        if path in self.open_documents:
            return self.open_documents[path] if self.workspace.may_be_shown(path, self.disabled_globs) else None
        return self.workspace.read(path, self.disabled_globs)


def _around(text: Text, cursor_byte: int, n_above: int, n_below: int) -> tuple[bytes, bytes]:
    line = text.line_of(cursor_byte)
    start = text.line_starts[max(line - n_above, 0)]
    end = text.line_starts[line + n_below + 1] if line + n_below + 1 < text.n_lines else len(text.data)
    start = max(start, cursor_byte - n_above * MAX_LINE_BYTES)
    return text.data[start:cursor_byte], text.data[cursor_byte : min(end, cursor_byte + n_below * MAX_LINE_BYTES)]


def _content(lines: Iterable[bytes]) -> frozenset[bytes]:
    """Lines without indentation, those with a word in them."""
    return frozenset(line.strip() for line in lines if IDENTIFIER.search(line))


# The three kinds of pieces


def _definitions(snapshot: Snapshot, place: _Place) -> Iterator[_Piece]:
    root = place.workspace.root_of(place.path)
    if root is None:
        return
    for definition in imported_definitions(snapshot, place.path, root, place.names, place.document):
        is_near = definition.name in place.names
        lines = definition.lines if is_near else definition.header
        rank = (_NAMED_AT_CURSOR if is_near else _IMPORTED), 0.0
        yield _Piece(rank, definition.document, lines, definition.header, definition.name)


def _similar(place: _Place) -> Iterator[_Piece]:
    for path, document in place.open_documents.items():
        found = most_similar(place.near, document.text.data, MIN_SIMILARITY)
        if found is not None and place.document(path) is not None:
            start, end, similarity_of_window = found
            yield _window_piece(
                document, start, end, (_SIMILAR, similarity_of_window), "open file like the lines around the cursor"
            )


def _edited(recent_edits: Iterable[tuple[str, int, int]], place: _Place) -> Iterator[_Piece]:
    done = {place.path}
    for age, (uri, first_line, last_line) in enumerate(recent_edits):
        path = path_of(uri)
        document = place.document(path) if path not in done else None
        if document is None:
            continue
        text = document.text
        start = (max(first_line, 0) + max(last_line, 0) - WINDOW_LINES + 1) // 2
        start = max(min(start, text.n_lines - WINDOW_LINES), 0)
        end = min(start + WINDOW_LINES, text.n_lines)
        window = text.data[text.line_starts[start] : text.line_span(end - 1)[1]]
        is_code = len(window) <= WINDOW_LINES * MAX_LINE_BYTES
        if is_code and similarity(place.near, identifiers(window)) > MIN_SIMILARITY_OF_EDITS:
            done.add(path)
            yield _window_piece(document, start, end, (_EDITED, -float(age)), "edited lately")


def _window_piece(document: Snapshot, start: int, end: int, rank: tuple[int, float], why: str) -> _Piece:
    while start < end and not document.text.line_text(start).strip():
        start += 1
    while start < end and not document.text.line_text(end - 1).strip():
        end -= 1
    lines = tuple(range(start, end))
    n_half = (len(lines) + 1) // 2
    middle = len(lines) // 4
    return _Piece(rank, document, lines, lines[middle : middle + n_half], why=why)


# What of it is shown


def _selected(pieces: Iterable[_Piece], place: _Place, room: SnippetRoom) -> tuple[Snippet, ...]:
    """Take the best pieces that fit, leave out what is known by then, and join those of each file."""
    known = set(place.seen)
    chosen: dict[str, list[_Piece]] = {}
    snippets: dict[str, tuple[Snippet, int]] = {}
    n_left = room.n_tokens
    for piece in pieces:
        path = path_of(piece.document.uri)
        name = place.workspace.name_of(path)
        n_of_file = snippets[path][1] if path in snippets else 0
        earlier = chosen.get(path, [])
        for lines in dict.fromkeys((piece.lines, piece.fewer)):
            content = _content(map(piece.document.text.line_text, lines))
            is_taken = any(not set(lines).isdisjoint(other.lines) for other in earlier)
            if is_taken or len(content & known) >= KNOWN_SHARE * len(content):
                continue
            together = [*earlier, evolve(piece, lines=lines)]
            snippet = _joined(name, together, room.tokenizer)
            n = room.n_tokens_in_prompt(name, snippet.ids)
            if n - n_of_file <= n_left:
                n_left -= n - n_of_file
                chosen[path], snippets[path] = together, (snippet, n)
                known |= content
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
