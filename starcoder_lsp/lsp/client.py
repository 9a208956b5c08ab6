"""A small language client: starts the server as an editor does, types, asks, reads what it cost.

For `demo`, for benchmarks and for programs that drive the server headlessly.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
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
    """The reply to one completion request: the ghost text, and what it took.

    `elapsed_ms` is from the first message to the reply, and `evaluation_ms` what of it passed inside llama.cpp's decode
    calls. The prompt tokens are those since the answer before, so that nothing done in between is left out.
    """

    text: str
    elapsed_ms: float
    evaluation_ms: float
    n_reused: int
    n_evaluated: int
    n_generated: int

    @property
    def is_from_memory(self) -> bool:
        """Whether the model was not called for it."""
        return self.n_evaluated == self.n_generated == 0


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
    def process_id(self) -> int:
        """The server's process."""
        if self._server is None:
            raise RuntimeError
        return self._server.pid

    async def metrics(self) -> dict[str, Any]:
        """The server's counters."""
        report: dict[str, Any] = plain(await self.protocol.send_request_async("starcoder/metrics"))
        return report

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
                if self._server is not None and self._server.stdin is not None:
                    with suppress(ConnectionError):  # which Python would report later if nobody took it
                        await self._server.stdin.wait_closed()
        except (TimeoutError, RuntimeError):
            if self._server is not None and not self.has_ended:
                self._server.kill()


@define
class Client:
    """A running server and the documents that are open in it. Made by `connect`."""

    _pygls: _Recorder
    _tokens: dict[str, int]
    _versions: dict[str, int] = field(factory=dict)

    @property
    def process_id(self) -> int:
        """The server's process."""
        return self._pygls.process_id

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

    async def complete(self, uri: str, line: int, character: int, changes: Sequence[Change] = ()) -> Answer:
        """Ask for a completion, as an editor does after a keystroke; the changes, if any, are sent right before."""
        before = await self.metrics()
        params = types.InlineCompletionParams(
            context=types.InlineCompletionContext(types.InlineCompletionTriggerKind.Automatic),
            text_document=types.TextDocumentIdentifier(uri),
            position=types.Position(line, character),
        )
        started = time.perf_counter()
        if changes:
            self.change(uri, changes)
        reply = await self._pygls.text_document_inline_completion_async(params)
        elapsed_ms = (time.perf_counter() - started) * 1000
        after = await self.metrics()
        items = reply.items if isinstance(reply, types.InlineCompletionList) else reply or []
        counted, self._tokens = self._tokens, after["tokens"]
        return Answer(
            text=str(items[0].insert_text) if items else "",
            elapsed_ms=elapsed_ms,
            evaluation_ms=after["latencyMs"]["evaluation"] - before["latencyMs"]["evaluation"],
            n_reused=self._tokens["reused"] - counted["reused"],
            n_evaluated=self._tokens["evaluated"] - counted["evaluated"],
            n_generated=self._tokens["generated"] - counted["generated"],
        )

    def peak_memory_bytes(self) -> int | None:
        """The most memory that the server's process held so far (Linux' `VmHWM`); `None` where nobody says."""
        try:
            status = Path(f"/proc/{self.process_id}/status").read_text()
        except OSError:
            return None
        return next((int(row.split()[1]) * 1024 for row in status.splitlines() if row.startswith("VmHWM:")), None)

    async def metrics(self) -> dict[str, Any]:
        """The server's counters."""
        return await self._pygls.metrics()


@asynccontextmanager
async def connect(
    settings: Mapping[str, object], root: Path, encoding: str = "utf-16", env: Mapping[str, str] | None = None
) -> AsyncIterator[Client]:
    """Start a server, wait until its model is loaded or has failed to, and stop it at the end.

    `env` is the server's environment, otherwise this process' own. Raises `ServerEndedError`, also out of what is asked
    of the client.
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
        await pygls.start_io(*SERVER_COMMAND, env=env)
        await pygls.initialize_async(params)
        pygls.initialized(types.InitializedParams())
        await pygls.loaded.wait()
        yield Client(pygls, (await pygls.metrics())["tokens"])
    except RuntimeError as error:  # what pygls makes of requests that wait for a server that has ended
        if not pygls.has_ended:
            raise
        await pygls.heard_out.wait()
        message = f"the server ended: {pygls.last_words}"
        raise ServerEndedError(message) from error
    finally:
        await pygls.part()
