"""The headers by which a router sends a document's requests to one GPU: a random id, and what the router echoed.

`x-session-id` is read by llm-d and by vLLM production-stack (`--session-key`), `X-Dynamo-Session-ID` by Dynamo;
`x-session-token` is llm-d's own answer, to be sent back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import uuid4

from attrs import define, field

from starcoder_lsp.lru import LruDict

TOKEN: Final = "x-session-token"  # noqa: S105  a header's name
MAX_TOKEN_CHARACTERS: Final = 4096
MAX_SESSIONS: Final = 256
"""Documents whose session is remembered. Not measured; an entry is some 200 bytes."""


@define(eq=False)
class Sessions:
    """The session headers of each document's requests. The id is random and says nothing about the document."""

    names: Sequence[str]
    _headers: LruDict[str, dict[str, str]] = field(factory=lambda: LruDict(MAX_SESSIONS))

    def headers(self, document: str) -> dict[str, str]:
        """Return the headers, the same for as long as the document is remembered."""
        headers = self._headers.use(document)
        if headers is None:
            headers = self._headers[document] = dict.fromkeys(self.names, uuid4().hex)
        return headers

    def receive(self, document: str, answered: Mapping[str, str]) -> None:
        """Keep the token that a router answered with."""
        token = answered.get(TOKEN, "")
        if token and len(token) <= MAX_TOKEN_CHARACTERS and token.isascii() and token.isprintable():
            self.headers(document)[TOKEN] = token
