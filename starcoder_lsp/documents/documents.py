"""The open documents as immutable, versioned snapshots, kept in step with the editor.

Edits are applied as the protocol orders them, each to the result of the one before. A document whose edits cannot be
trusted any more has no snapshot at all until the editor sends it whole: no completion is better than one for a text
that nobody sees. One thread changes a `Documents`; snapshots may go to any other and stay as they are.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from attrs import frozen

from starcoder_lsp.documents.languages import Language, language_for
from starcoder_lsp.documents.syntax import Syntax
from starcoder_lsp.documents.text import InputEdit, PositionEncoding, Text, splice_between

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_BYTES: Final = 4 * 1024 * 1024


class UnknownDocumentError(LookupError):
    """The editor speaks of a document that it has not opened. Its text is the URI."""


class OutOfSyncError(ValueError):
    """An edit is not for the text that is here; only the whole text helps."""


@frozen
class Snapshot:
    """A document at one version. ``syntax`` is None where the language has no grammar or the document is declined."""

    uri: str
    version: int
    language_id: str
    text: Text
    syntax: Syntax | None


@frozen
class Edit:
    """An editor's edit: `text` in place of a range, or of the whole document where ``start_line`` is None.

    Lines and characters count from 0, characters in code units of the encoding that goes with the edit.
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
    """What the editor has open, by URI."""

    def __init__(self) -> None:
        """Start with nothing open."""
        self._snapshots: dict[str, Snapshot] = {}
        self._out_of_sync: set[str] = set()

    def open(self, uri: str, language_id: str, version: int, text: str) -> Snapshot:
        """Take in a document that the editor opens, or opens again."""
        self._out_of_sync.discard(uri)
        return self._keep(fresh(uri, language_id, version, Text.from_str(text)))

    def change(self, uri: str, version: int, edits: Sequence[Edit], encoding: PositionEncoding) -> Snapshot:
        """Apply the edits that lead to `version`; any version above the current one will do.

        Raises UnknownDocument for a document that is not open, and OutOfStep where edits of ranges come for another
        text than the one here. A whole-document edit among them is always good, and sets things right again.
        """
        snapshot = self._snapshots.get(uri)
        if snapshot is None:
            raise UnknownDocumentError(uri)
        whole = max((index for index, edit in enumerate(edits) if edit.start_line is None), default=None)
        if whole is not None:
            self._out_of_sync.discard(uri)
            edits = edits[whole:]
        elif uri in self._out_of_sync or version <= snapshot.version:
            self._out_of_sync.add(uri)
            message = f"an edit to version {version} of {uri}, which is at version {snapshot.version}"
            raise OutOfSyncError(message)
        text, input_edits = snapshot.text, []
        for edit in edits:
            start, end, new = _splice(text, edit, encoding)
            edited = text.splice(start, end, new)
            input_edits.append(InputEdit.of_splice(text, start, end, edited))
            text = edited
        return self._keep(derived(snapshot, version, text, input_edits))

    def close(self, uri: str) -> None:
        """Forget a document. Raises UnknownDocument where it is not open."""
        if self._snapshots.pop(uri, None) is None:
            raise UnknownDocumentError(uri)
        self._out_of_sync.discard(uri)

    def get(self, uri: str) -> Snapshot | None:
        """Return the current snapshot; None for a document that is not open or is out of step."""
        return self._snapshots.get(uri) if self.is_in_sync(uri) else None

    def is_in_sync(self, uri: str) -> bool:
        """Whether the text here is the editor's. False for a document that is not open."""
        return uri in self._snapshots and uri not in self._out_of_sync

    def __contains__(self, uri: str) -> bool:
        """Whether a document is open, in step or not."""
        return uri in self._snapshots

    def __iter__(self) -> Iterator[Snapshot]:
        """Iterate over the snapshots of the documents that are open and in step, those opened first first."""
        return iter([snapshot for uri, snapshot in self._snapshots.items() if uri not in self._out_of_sync])

    def _keep(self, snapshot: Snapshot) -> Snapshot:
        self._snapshots[snapshot.uri] = snapshot
        return snapshot


def unreadable_reason(snapshot: Snapshot) -> str | None:
    """Return in a few plain words why a document gets no completions at all, None where it does."""
    return _unreadable_reason(snapshot.text)


def language_of(snapshot: Snapshot) -> Language:
    """Return the language of a document, by the id that the editor gave or else by the file's name."""
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
    """Return the snapshot of a text about which nothing is known."""
    language = _language_of(uri, language_id)
    has_syntax = language.grammar is not None and _unreadable_reason(text) is None
    return Snapshot(uri, version, language_id, text, Syntax.parse_fresh(language, text) if has_syntax else None)


def derived(before: Snapshot, version: int, text: Text, input_edits: Sequence[InputEdit]) -> Snapshot:
    """Return the snapshot of the `text` that `input_edits`, in order, make of an earlier one."""
    if before.syntax is None or _unreadable_reason(text) is not None:
        return fresh(before.uri, before.language_id, version, text)
    return Snapshot(before.uri, version, before.language_id, text, before.syntax.derive(text, input_edits))


def spliced(before: Snapshot, start_byte: int, end_byte: int, new: bytes) -> Snapshot:
    """Return the snapshot that a suggestion would make of this one, under the same version.

    Raises ValueError where the range is not one of the text.
    """
    text = before.text.splice(start_byte, end_byte, new)
    return derived(before, before.version, text, [InputEdit.of_splice(before.text, start_byte, end_byte, text)])


def _splice(text: Text, edit: Edit, encoding: PositionEncoding) -> tuple[int, int, bytes]:
    """Return ``(start_byte, end_byte, new)`` of an edit; a range that runs backwards counts as the one forwards."""
    new = edit.text.encode("utf-8", "surrogatepass")
    if edit.start_line is None:
        return splice_between(text.data, new)
    start = text.byte_at(edit.start_line, edit.start_character, encoding)
    end = text.byte_at(edit.end_line, edit.end_character, encoding)
    return min(start, end), max(start, end), new
