"""Recently used documents and edited regions, from which pieces of other files are chosen. On the event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from attrs import define, field

from starcoder_lsp.documents.documents import Edit, Snapshot
from starcoder_lsp.documents.uris import path_of
from starcoder_lsp.documents.workspace import WorkspaceContext

N_EDITS = 32
"""The most edited regions kept, of all documents together. Not measured."""
N_NEAR_LINES = 3
"""Edits at most this many lines apart belong to one region. Not measured."""


@define
class EditHistory:
    """Documents in the order of their use, and regions in the order of their last edit; the newest last."""

    roots: tuple[Path, ...] = ()
    """The client's workspace folders."""
    _used: dict[str, None] = field(factory=dict)
    _edited: dict[tuple[str, int, int], None] = field(factory=dict)

    def use(self, uri: str) -> None:
        """Note that a document was opened, edited, completed or focused."""
        self._used.pop(uri, None)
        self._used[uri] = None

    def close(self, uri: str) -> None:
        """Forget a closed document and its regions."""
        self._used.pop(uri, None)
        self._edited = {region: None for region in self._edited if region[0] != uri}

    def edit(self, uri: str, edits: Iterable[Edit], first_line: int = 0) -> None:
        """Record edits of a text, or of a cell of it that begins at `first_line`.

        Lines of regions below are not shifted; a later edit of such a region corrects them.
        """
        for edit in edits:
            if edit.start_line is None:
                continue
            start = first_line + edit.start_line
            end = start + edit.text.count("\n")
            for region in list(self._edited):
                if region[0] == uri and region[1] - N_NEAR_LINES <= end and start <= region[2] + N_NEAR_LINES:
                    del self._edited[region]
                    start, end = min(start, region[1]), max(end, region[2])
            self._edited[uri, start, end] = None
        while len(self._edited) > N_EDITS:
            del self._edited[next(iter(self._edited))]

    def workspace_context(self, uri: str, snapshot_of: Callable[[str], Snapshot | None]) -> WorkspaceContext:
        """Return the context of a document: its root folder, open documents and edited regions, newest first."""
        used = (snapshot_of(uri) for uri in reversed(self._used))
        opened = tuple(snapshot for snapshot in used if snapshot is not None)
        return WorkspaceContext(self.root_of(uri), opened, tuple(reversed(self._edited)))

    def root_of(self, uri: str) -> Path | None:
        """Return the innermost workspace folder that holds a document, otherwise the first one."""
        path = Path(path_of(uri))
        holding = [root for root in self.roots if path.is_relative_to(root)]
        return max(holding, key=lambda root: len(root.parts), default=next(iter(self.roots), None))
