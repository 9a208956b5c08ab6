"""A small language client: starts the server as an editor does, types, asks, reads what it cost.

For `demo`, for benchmarks and for programs that drive the server headlessly.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from attrs import define, field, frozen
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.io_ import run_async
from pygls.lsp.client import LanguageClient
from pygls.protocol import LanguageServerProtocol

from starcoder_lsp.lsp.child import Child, ServerEndedError
from starcoder_lsp.lsp.convert import plain
from starcoder_lsp.lsp.protocol import silence_pygls

SERVER_COMMAND = (sys.executable, "-m", "starcoder_lsp")
EXIT_TIMEOUT_S = 5.0
SILENCE_TIMEOUT_S = 120.0
"""While it starts, a server that lives tells of something now and then: of each step of loading a model at least."""
T = TypeVar("T")


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
    is_null: bool = False
    """Whether the server had nothing to say about this place now, rather than nothing to suggest."""

    @property
    def is_from_memory(self) -> bool:
        """Whether the model was not called for it."""
        return self.n_evaluated == self.n_generated == 0


class _Protocol(LanguageServerProtocol):
    """pygls' protocol, with an end: no request waits for a server that is gone."""

    def __init__(self, client: LanguageClient, converter: Any) -> None:
        super().__init__(client, converter)  # type: ignore[arg-type]  # as pygls' client does it
        self._pending: set[Future[Any]] = set()
        self._reason = ""

    def send_request(self, method: str, params: Any = None, *args: Any, **options: Any) -> Future[Any]:
        """Send a request, and keep the future of its reply."""
        if self._reason:
            return _failed(self._reason)
        future: Future[Any] = super().send_request(method, params, *args, **options)
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        return future

    def end(self, reason: str) -> None:
        """Fail every request that has no reply, and each that is still to come."""
        self._reason = reason
        for future in tuple(self._pending):
            future.set_exception(ServerEndedError(reason))


def _failed(reason: str) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(ServerEndedError(reason))
    return future


class _UnreadableError(Exception):
    """The server wrote something that is no message: the reply to some request may have been lost."""


class _Recorder(LanguageClient):
    """pygls' client, keeping what the server tells, over a process that this module watches."""

    protocol: _Protocol
    child: Child

    def __init__(self) -> None:
        super().__init__("starcoder-lsp-client", "1", protocol_cls=_Protocol)
        self.messages: list[str] = []
        self.errors: list[str] = []
        self.loaded = asyncio.Event()

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

        @self.feature("starcoder/didChangeStatus")  # type: ignore[untyped-decorator]  # pygls' client has none
        def change_status(status: Any) -> None:
            if plain(status)["kind"] != "loading":
                self.loaded.set()

    def start(self, child: Child) -> None:
        """Speak to a server that was started."""
        self.child = child
        self.protocol.set_writer(child)
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        """Read until the server ends, closes its output or writes nonsense; nobody waits for it any more then."""
        reason = ""
        try:
            await run_async(threading.Event(), self.child.output, self.protocol, error_handler=self.report_server_error)
        except (asyncio.IncompleteReadError, ValueError):
            pass  # the end came in the middle of a message, or a header had no end
        except _UnreadableError:
            reason = "the server wrote something that is no message"
        self.protocol.end(reason or await self.child.last_words())
        self.loaded.set()

    def report_server_error(self, error: Exception, source: Any) -> None:
        """End the connection if a message cannot be read. A reply that comes too late for whoever asked is no error."""
        if source is JsonRpcException and isinstance(error, JsonRpcException | ValueError | RecursionError):
            raise _UnreadableError

    async def until_loaded(self, params: types.InitializeParams) -> dict[str, Any]:
        """Initialize, and wait until the model is loaded or has failed to; the counters then."""
        await self.initialize_async(params)
        self.initialized(types.InitializedParams())
        await self.loaded.wait()
        return await self.metrics()

    async def patiently(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await something for as long as the server goes on saying anything. Raises `ServerEndedError`."""
        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(coroutine)
        try:
            while not task.done():
                left_s = self.child.heard_at + SILENCE_TIMEOUT_S - loop.time()
                if left_s <= 0:
                    message = f"the server has said nothing for {SILENCE_TIMEOUT_S:.0f} s"
                    raise ServerEndedError(message)
                await asyncio.wait([task], timeout=left_s)
            return task.result()
        finally:
            task.cancel()

    async def metrics(self) -> dict[str, Any]:
        """The server's counters."""
        report: dict[str, Any] = plain(await self.protocol.send_request_async("starcoder/metrics"))
        return report

    async def part(self) -> None:
        """Stop the server, in one way or the other."""
        try:
            with suppress(TimeoutError, ServerEndedError, JsonRpcException):
                async with asyncio.timeout(EXIT_TIMEOUT_S):
                    await self.shutdown_async(None)
                    self.exit(None)
                    await self.child.exited()
        finally:
            await self.child.part()
            await self._reading


@define
class Client:
    """A running server and the documents that are open in it. Made by `connect`."""

    _pygls: _Recorder
    _tokens: dict[str, int]
    _versions: dict[str, int] = field(factory=dict)

    @property
    def process_id(self) -> int:
        """The server's process."""
        return self._pygls.child.process_id

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
            is_null=reply is None,
        )

    def peak_memory_bytes(self) -> int | None:
        """The most memory that the server and its host held so far (Linux' `VmHWM`); `None` where nobody says."""
        peaks = [_status(process_id).get("VmHWM") for process_id in self.process_ids()]
        return sum(int(peak.split()[0]) * 1024 for peak in peaks if peak) or None

    def process_ids(self) -> list[int]:
        """The server's process and those that it started, such as its host; itself alone where nobody says."""
        found = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
        own = str(self.process_id)
        return [self.process_id, *(each for each in found if _status(each).get("PPid") == own)]

    async def metrics(self) -> dict[str, Any]:
        """The server's counters."""
        return await self._pygls.metrics()


def _status(process_id: int) -> dict[str, str]:
    """What Linux says of a process; nothing elsewhere, and of one that is gone."""
    try:
        rows = Path(f"/proc/{process_id}/status").read_text().splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (row.partition(":") for row in rows)}


@asynccontextmanager
async def connect(
    settings: Mapping[str, object], root: Path, encoding: str = "utf-16", env: Mapping[str, str] | None = None
) -> AsyncIterator[Client]:
    """Start a server, wait until its model is loaded or has failed to, and stop it at the end.

    `env` is the server's environment, otherwise this process' own. Raises `ServerEndedError`, also out of what is asked
    of the client: for a server that ends, that cannot be started, or that says nothing for long while it starts.
    """
    silence_pygls()
    pygls = _Recorder()
    params = types.InitializeParams(
        process_id=os.getpid(),
        root_uri=root.as_uri(),
        capabilities=types.ClientCapabilities(
            general=types.GeneralClientCapabilities(position_encodings=[types.PositionEncodingKind(encoding)]),
            window=types.WindowClientCapabilities(work_done_progress=True),
            experimental={"starcoder": {"status": True}},
        ),
        initialization_options={"starcoder": dict(settings)},
    )
    pygls.start(await Child.start(SERVER_COMMAND, env))
    try:
        yield Client(pygls, (await pygls.patiently(pygls.until_loaded(params)))["tokens"])
    finally:
        await pygls.part()
