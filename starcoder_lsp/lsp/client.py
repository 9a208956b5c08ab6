"""A small language client: starts the server as an editor does, types, asks, reads what it cost.

For `demo`, for benchmarks and for programs that drive the server headlessly.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from lsprotocol import types
from pygls.lsp.client import LanguageClient

from starcoder_lsp.lsp.convert import plain

SERVER_COMMAND = (sys.executable, "-m", "starcoder_lsp")
EXIT_TIMEOUT_S = 5.0


class ServerEndedError(Exception):
    """The server ended before it was told to. The text is one line for a person."""


@frozen
class Change:
    """An edit: `text` in place of what is between two places, counted from 0 in the negotiated encoding's units."""

    start_line: int
    start_character: int
    end_line: int
    end_character: int
    text: str


@frozen
class Answer:
    """The reply to one completion request: the ghost text, and the prompt tokens that it took."""

    text: str
    elapsed_ms: float
    n_reused: int
    n_evaluated: int


class _Recorder(LanguageClient):
    """pygls' client, keeping what the server tells."""

    def __init__(self) -> None:
        super().__init__("starcoder-lsp-client", "1")
        self.messages: list[str] = []
        self.errors: list[str] = []
        self.loaded = asyncio.Event()
        self.heard_out = asyncio.Event()
        self.last_words = ""

        @self.feature(types.WINDOW_SHOW_MESSAGE)  # type: ignore[untyped-decorator]  # pygls' client has none
        def show_message(params: types.ShowMessageParams) -> None:
            self.messages.append(params.message)
            if params.type == types.MessageType.Error:
                self.errors.append(params.message)

        @self.feature(types.WINDOW_LOG_MESSAGE)  # type: ignore[untyped-decorator]  # pygls' client has none
        def log_message(_params: types.LogMessageParams) -> None:
            pass

        @self.feature(types.WINDOW_WORK_DONE_PROGRESS_CREATE)  # type: ignore[untyped-decorator]  # pygls' client has none
        def create_progress(_params: types.WorkDoneProgressCreateParams) -> None:
            pass

        @self.feature(types.PROGRESS)  # type: ignore[untyped-decorator]  # pygls' client has none
        def progress(params: types.ProgressParams) -> None:
            value = params.value
            kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
            if kind == "end":
                self.loaded.set()

    @property
    def has_ended(self) -> bool:
        """Whether there was a server and is none any more."""
        return self._server is not None and self._server.returncode is not None

    async def server_exit(self, server: asyncio.subprocess.Process) -> None:
        """Keep what a server that ended said last; nobody waits for its model any more."""
        said = await server.stderr.read() if server.stderr else b""
        self.last_words = (said.decode("utf-8", "replace").strip().splitlines() or ["it said nothing"])[-1]
        self.heard_out.set()
        self.loaded.set()

    async def part(self) -> None:
        """Stop the server, in one way or the other."""
        try:
            async with asyncio.timeout(EXIT_TIMEOUT_S):
                if not self.has_ended:
                    await self.shutdown_async(None)
                    self.exit(None)
                await self.stop()  # type: ignore[no-untyped-call]  # pygls' client
        except (TimeoutError, RuntimeError):
            if self._server is not None and not self.has_ended:
                self._server.kill()


@define
class Client:
    """A running server and the documents that are open in it. Made by `connect`."""

    _pygls: _Recorder
    _versions: dict[str, int] = field(factory=dict)

    @property
    def messages(self) -> list[str]:
        """What the server showed to the person."""
        return self._pygls.messages

    @property
    def errors(self) -> list[str]:
        """Those of the messages that tell of an error, such as a model that cannot be loaded."""
        return self._pygls.errors

    def open(self, uri: str, language_id: str, text: str) -> None:
        """Open a document."""
        self._versions[uri] = 1
        document = types.TextDocumentItem(uri, language_id, 1, text)
        self._pygls.text_document_did_open(types.DidOpenTextDocumentParams(document))

    def insert(self, uri: str, line: int, character: int, text: str) -> None:
        """Insert text at a place."""
        self.change(uri, [Change(line, character, line, character, text)])

    def change(self, uri: str, changes: Iterable[Change]) -> None:
        """Apply changes, each to the result of the one before."""
        self._versions[uri] += 1
        events: list[types.TextDocumentContentChangeEvent] = [
            types.TextDocumentContentChangePartial(
                range=types.Range(
                    types.Position(change.start_line, change.start_character),
                    types.Position(change.end_line, change.end_character),
                ),
                text=change.text,
            )
            for change in changes
        ]
        document = types.VersionedTextDocumentIdentifier(uri=uri, version=self._versions[uri])
        self._pygls.text_document_did_change(types.DidChangeTextDocumentParams(document, events))

    async def complete(self, uri: str, line: int, character: int) -> Answer:
        """Ask for a completion, as an editor does after a keystroke."""
        before = (await self.metrics())["tokens"]
        started = time.perf_counter()
        reply = await self._pygls.text_document_inline_completion_async(
            types.InlineCompletionParams(
                context=types.InlineCompletionContext(types.InlineCompletionTriggerKind.Automatic),
                text_document=types.TextDocumentIdentifier(uri),
                position=types.Position(line, character),
            )
        )
        elapsed_ms = (time.perf_counter() - started) * 1000
        after = (await self.metrics())["tokens"]
        items = reply.items if isinstance(reply, types.InlineCompletionList) else reply or []
        text = str(items[0].insert_text) if items else ""
        return Answer(text, elapsed_ms, after["reused"] - before["reused"], after["evaluated"] - before["evaluated"])

    async def metrics(self) -> dict[str, Any]:
        """The server's counters."""
        report: dict[str, Any] = plain(await self._pygls.protocol.send_request_async("starcoder/metrics"))
        return report


@asynccontextmanager
async def connect(settings: Mapping[str, object], root: Path, encoding: str = "utf-16") -> AsyncIterator[Client]:
    """Start a server, wait until its model is loaded or has failed to, and stop it at the end.

    Raises `ServerEndedError`, also out of what is asked of the client.
    """
    pygls = _Recorder()
    params = types.InitializeParams(
        process_id=None,
        root_uri=root.as_uri(),
        capabilities=types.ClientCapabilities(
            general=types.GeneralClientCapabilities(position_encodings=[types.PositionEncodingKind(encoding)]),
            window=types.WindowClientCapabilities(work_done_progress=True),
        ),
        initialization_options={"starcoder": dict(settings)},
    )
    try:
        await pygls.start_io(*SERVER_COMMAND)
        await pygls.initialize_async(params)
        pygls.initialized(types.InitializedParams())
        await pygls.loaded.wait()
        yield Client(pygls)
    except RuntimeError as error:  # what pygls makes of requests that wait for a server that has ended
        if not pygls.has_ended:
            raise
        await pygls.heard_out.wait()
        message = f"the server ended: {pygls.last_words}"
        raise ServerEndedError(message) from error
    finally:
        await pygls.part()
