"""The open documents as immutable, versioned snapshots, in sync with the editor.

Each edit applies to the result of the one before. After an edit that cannot be applied, a document has no snapshot
until the editor sends the whole text: a completion for another text than the user's would be worse than none. Only one
thread may change a `Documents`; snapshots never change, and any thread may read them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from attrs import evolve, field, frozen

from starcoder_lsp.documents.languages import Language, language_for
from starcoder_lsp.documents.quarantine import may_have_tree
from starcoder_lsp.documents.syntax import Syntax
from starcoder_lsp.documents.text import InputEdit, PositionEncoding, Text, splice_between

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_BYTES: Final = 4 * 1024 * 1024
"""Larger documents get no completions. Not measured; a splice copies the text, 0.3 ms for 130 KB."""


class UnknownDocumentError(LookupError):
    """A message names a document that is not open. The error's text is the URI."""


class OutOfSyncError(ValueError):
    """An edit applies to another version than the server's. The editor must send the whole text."""


@frozen
class Snapshot:
    """A document at one version. `syntax` is `None` without a grammar, and for an unreadable document."""

    uri: str
    version: int
    language_id: str
    text: Text
    syntax: Syntax | None
    input_edits: tuple[InputEdit, ...] = field(default=(), eq=False, repr=False)
    """The splices from the text before to this one, in order; empty for a text that was just opened."""
    is_numbered: bool = True
    """True if `version` is the client's; false if it is the last one plus one, since the client's did not grow."""


@frozen
class Edit:
    """An editor's edit: `text` replaces a range, or the whole document if `start_line` is `None`.

    Lines and characters count from 0; characters are code units of the position encoding.
    """

    start_line: int | None
    start_character: int
    end_line: int
    end_character: int
    text: str

    @classmethod
    def whole(cls, text: str) -> Edit:
        """Return the edit that replaces everything."""
        return cls(None, 0, 0, 0, text)


class Documents:
    """The open documents by URI."""

    def __init__(self) -> None:
        self._snapshots: dict[str, Snapshot] = {}
        self._out_of_sync: set[str] = set()

    def open(self, uri: str, language_id: str, version: int, text: str) -> Snapshot:
        """Add a document that the editor opens, or opens again."""
        self._out_of_sync.discard(uri)
        return self._keep(fresh(uri, language_id, version, Text.from_str(text)))

    def change(self, uri: str, version: int, edits: Sequence[Edit], encoding: PositionEncoding) -> Snapshot:
        """Apply the edits that lead to `version`, whatever it is: messages are ordered.

        Edits that replace the whole document always apply, and bring the document back in sync. Raises
        `UnknownDocumentError` for a document that is not open, and `OutOfSyncError` for an edit of a range while an
        earlier edit is missing.
        """
        snapshot = self._snapshots.get(uri)
        if snapshot is None:
            raise UnknownDocumentError(uri)
        whole = max((index for index, edit in enumerate(edits) if edit.start_line is None), default=None)
        if whole is not None:
            self._out_of_sync.discard(uri)
            edits = edits[whole:]
        elif uri in self._out_of_sync:
            message = f"an edit of {uri}, of which an earlier edit is missing"
            raise OutOfSyncError(message)
        text, input_edits = snapshot.text, []
        for edit in edits:
            start, end, new = _splice(text, edit, encoding)
            edited = text.splice(start, end, new)
            input_edits.append(InputEdit.of_splice(text, start, end, edited))
            text = edited
        is_numbered = version > snapshot.version
        now = derived(snapshot, version if is_numbered else snapshot.version + 1, text, input_edits)
        return self._keep(now if is_numbered else evolve(now, is_numbered=False))

    @property
    def out_of_sync(self) -> frozenset[str]:
        """The URIs of documents that wait for their whole text."""
        return frozenset(self._out_of_sync)

    def mark_out_of_sync(self, uri: str) -> None:
        """Note that an edit got lost, so that the text here differs. Does nothing for a document that is not open."""
        if uri in self._snapshots:
            self._out_of_sync.add(uri)

    def close(self, uri: str) -> None:
        """Forget a document. Raises `UnknownDocumentError` if it is not open."""
        if self._snapshots.pop(uri, None) is None:
            raise UnknownDocumentError(uri)
        self._out_of_sync.discard(uri)

    def get(self, uri: str) -> Snapshot | None:
        """Return the current snapshot; `None` for a document that is not open or not in sync."""
        return self._snapshots.get(uri) if self.is_in_sync(uri) else None

    def is_in_sync(self, uri: str) -> bool:
        """Return whether the text equals the editor's. False for a document that is not open."""
        return uri in self._snapshots and uri not in self._out_of_sync

    def __contains__(self, uri: str) -> bool:
        """Return whether a document is open, in sync or not."""
        return uri in self._snapshots

    def __iter__(self) -> Iterator[Snapshot]:
        """Iterate over the snapshots of the documents that are in sync, in the order of opening."""
        return iter([snapshot for uri, snapshot in self._snapshots.items() if uri not in self._out_of_sync])

    def _keep(self, snapshot: Snapshot) -> Snapshot:
        self._snapshots[snapshot.uri] = snapshot
        return snapshot


def unreadable_reason(snapshot: Snapshot) -> str | None:
    """Return in a few words why a document gets no completions, or `None` if it can get some."""
    return _unreadable_reason(snapshot.text)


def language_of(snapshot: Snapshot) -> Language:
    """Return the language of a document, by the editor's language id or else by the file name."""
    return _language_of(snapshot.uri, snapshot.language_id)


def _unreadable_reason(text: Text) -> str | None:
    if len(text.data) > MAX_BYTES:
        return f"larger than {MAX_BYTES // 1024 // 1024} MiB"
    if b"\0" in text.data:
        return "not text: it has NUL bytes"
    return None


@lru_cache(maxsize=256)
def _language_of(uri: str, language_id: str) -> Language:
    return language_for(language_id, unquote(uri))


def fresh(uri: str, language_id: str, version: int, text: Text) -> Snapshot:
    """Return the snapshot of a text without an earlier one."""
    language = _language_of(uri, language_id)
    has_syntax = language.grammar is not None and _unreadable_reason(text) is None and may_have_tree(uri)
    return Snapshot(uri, version, language_id, text, Syntax.parse_fresh(language, text, uri) if has_syntax else None)


def derived(before: Snapshot, version: int, text: Text, input_edits: Sequence[InputEdit]) -> Snapshot:
    """Return the snapshot of `text`, which `input_edits`, in order, make of an earlier snapshot's text."""
    if before.syntax is None or _unreadable_reason(text) is not None:
        return evolve(fresh(before.uri, before.language_id, version, text), input_edits=tuple(input_edits))
    syntax = before.syntax.derive(text, input_edits)
    return Snapshot(before.uri, version, before.language_id, text, syntax, tuple(input_edits))


def spliced(before: Snapshot, start_byte: int, end_byte: int, new: bytes) -> Snapshot:
    """Return the snapshot after an edit that the editor did not make, such as a suggestion. It has the same version.

    Raises `ValueError` for a range outside of the text.
    """
    text = before.text.splice(start_byte, end_byte, new)
    return derived(before, before.version, text, [InputEdit.of_splice(before.text, start_byte, end_byte, text)])


def _splice(text: Text, edit: Edit, encoding: PositionEncoding) -> tuple[int, int, bytes]:
    """Return `(start_byte, end_byte, new)` of an edit. The two ends of its range may come in any order."""
    new = edit.text.encode("utf-8", "surrogatepass")
    if edit.start_line is None:
        return splice_between(text.data, new)
    start = text.byte_at(edit.start_line, edit.start_character, encoding)
    end = text.byte_at(edit.end_line, edit.end_character, encoding)
    return min(start, end), max(start, end), new
