"""Spellings of URIs: the program uses one for each document, and replies use the client's."""

from __future__ import annotations

from typing import Any

from attrs import define, field

from starcoder_lsp.documents.uris import normalized_uri
from starcoder_lsp.lru import LruDict

MEMBERS = frozenset({"uri", "document", "rootUri"})
"""Members of the protocol's parameters that hold a document's URI: `document` is a notebook cell's."""
MAX_DEPTH = 7
"""The deepest place of a URI in the protocol: `params.change.cells.structure.array.cells[0].document`."""
MAX_SPELLINGS = 4096
"""Not measured."""


@define(eq=False)
class ClientUris:
    """One client's spellings of URIs that differ from the normal one."""

    _spellings: LruDict[str, str] = field(factory=lambda: LruDict(MAX_SPELLINGS))

    def normalize(self, params: object) -> None:
        """Normalize each URI in a message's parameters, in place. They are plain JSON."""
        self._walk(params, MAX_DEPTH)

    def spelled(self, uri: str) -> str:
        """Return a URI as the client spells it."""
        return self._spellings.get(uri, uri)

    def _walk(self, value: Any, depth: int) -> None:
        if depth == 0:
            return
        if isinstance(value, list):
            for each in value:
                self._walk(each, depth - 1)
        elif isinstance(value, dict):
            for name, each in value.items():
                if name in MEMBERS and isinstance(each, str):
                    value[name] = self._normalized(each)
                else:
                    self._walk(each, depth - 1)

    def _normalized(self, spelled: str) -> str:
        uri = normalized_uri(spelled)
        if spelled != uri:
            self._spellings[uri] = spelled
        return uri
