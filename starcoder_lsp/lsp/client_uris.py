"""URIs at the edge: the program has one spelling for each document, and replies use the client's own."""

from __future__ import annotations

from typing import Any

from attrs import define, field

from starcoder_lsp.documents.uris import normalized_uri

MEMBERS = frozenset({"uri", "document", "rootUri"})
"""Members of the protocol's parameters that hold a document's URI: `document` is a notebook cell's."""
MAX_DEPTH = 7
"""No URI of the protocol is nested deeper: `params.change.cells.structure.array.cells[0].document`."""
MAX_SPELLINGS = 4096


@define(eq=False)
class ClientUris:
    """The spellings of one client, where they differ from ours."""

    _spellings: dict[str, str] = field(factory=dict)

    def normalize(self, params: object) -> None:
        """Put our spelling in place of each URI in a message's parameters, which are plain JSON."""
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
            self._spellings.pop(uri, None)
            self._spellings[uri] = spelled
            if len(self._spellings) > MAX_SPELLINGS:
                del self._spellings[next(iter(self._spellings))]
        return uri
