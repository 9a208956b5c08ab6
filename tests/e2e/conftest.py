"""A real server as a child process, and what a test asks of it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest_lsp
from lsprotocol import types
from pytest_lsp import ClientServerConfig, LanguageClient

from starcoder_lsp.lsp.convert import plain

SERVER = [sys.executable, "-m", "starcoder_lsp"]
SETTINGS = {"debounce": {"mode": "off"}, "completion": {"maxTokens": 24}}


def capabilities(encoding: str = "utf-16") -> types.ClientCapabilities:
    return types.ClientCapabilities(
        general=types.GeneralClientCapabilities(position_encodings=[encoding]),
        window=types.WindowClientCapabilities(work_done_progress=True),
    )


class Driver:
    """One client and the documents that it has opened."""

    def __init__(self, client: LanguageClient) -> None:
        self.client = client
        self.versions: dict[str, int] = {}

    async def start(self, settings: object = SETTINGS, encoding: str = "utf-16") -> types.InitializeResult:
        return await self.client.initialize_session(
            types.InitializeParams(
                capabilities=capabilities(encoding), initialization_options={"starcoder": settings}, process_id=None
            )
        )

    async def model_is_loaded(self) -> dict[str, Any]:
        """Ask until the model is there: every round trip waits for the server, none sleeps."""
        while (report := await self.metrics())["model"] is None:
            pass
        return report

    async def ask(self, method: str, params: object = None) -> Any:
        return plain(await self.client.protocol.send_request_async(method, params))

    async def metrics(self) -> dict[str, Any]:
        return await self.ask("starcoder/metrics")

    def open(self, uri: str, text: str, language: str = "python") -> None:
        self.versions[uri] = 1
        document = types.TextDocumentItem(uri, language, 1, text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(document))

    def edit(
        self, uri: str, start: tuple[int, int], end: tuple[int, int], text: str, version: int | None = None
    ) -> None:
        self.versions[uri] = self.versions[uri] + 1 if version is None else version
        change = types.TextDocumentContentChangePartial(
            range=types.Range(types.Position(*start), types.Position(*end)), text=text
        )
        self._change(uri, change)

    def replace(self, uri: str, text: str) -> None:
        self.versions[uri] += 1
        self._change(uri, types.TextDocumentContentChangeWholeDocument(text=text))

    def _change(self, uri: str, change: types.TextDocumentContentChangeEvent) -> None:
        document = types.VersionedTextDocumentIdentifier(uri=uri, version=self.versions[uri])
        self.client.text_document_did_change(types.DidChangeTextDocumentParams(document, [change]))

    def request(
        self,
        uri: str,
        line: int,
        character: int,
        kind: types.InlineCompletionTriggerKind = types.InlineCompletionTriggerKind.Invoked,
    ) -> types.InlineCompletionParams:
        return types.InlineCompletionParams(
            context=types.InlineCompletionContext(kind),
            text_document=types.TextDocumentIdentifier(uri),
            position=types.Position(line, character),
        )

    async def complete(self, uri: str, line: int, character: int) -> list[types.InlineCompletionItem] | None:
        """The items of one request; `None` for the reply `null`."""
        reply = await self.client.text_document_inline_completion_async(self.request(uri, line, character))
        return None if reply is None else list(reply.items)


@pytest_lsp.fixture(config=ClientServerConfig(server_command=SERVER))
async def client(lsp_client: LanguageClient) -> AsyncIterator[None]:
    """A client of a server that has not been initialized."""
    yield
    await lsp_client.shutdown_session()
