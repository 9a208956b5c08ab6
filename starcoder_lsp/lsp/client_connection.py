"""Connect to a server that is a child process and may end at any time, by pygls' client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.io_ import run_async
from pygls.lsp.client import LanguageClient
from pygls.protocol import LanguageServerProtocol

from starcoder_lsp.lsp.child import Child, ServerEndedError
from starcoder_lsp.lsp.convert import plain

EXIT_TIMEOUT_S = 5.0
"""The time from `shutdown` to the end of the process. Not measured."""
SILENCE_TIMEOUT_S = 120.0
"""A server that loads a model writes at every step of loading. No step takes this long; not measured."""
T = TypeVar("T")


class _Protocol(LanguageServerProtocol):
    """pygls' protocol, in which no request waits for a server that has ended."""

    def __init__(self, client: LanguageClient, converter: Any) -> None:
        super().__init__(client, converter)  # type: ignore[arg-type]  # as pygls' client does it
        self._pending: set[Future[Any]] = set()
        self._reason = ""

    def send_request(self, method: str, params: Any = None, *args: Any, **options: Any) -> Future[Any]:
        """Send a request and keep the future of its reply."""
        if self._reason:
            return _failed(self._reason)
        future: Future[Any] = super().send_request(method, params, *args, **options)
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        return future

    def end(self, reason: str) -> None:
        """Fail every request without a reply, and every later one."""
        self._reason = reason
        for future in tuple(self._pending):
            future.set_exception(ServerEndedError(reason))


def _failed(reason: str) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(ServerEndedError(reason))
    return future


class _UnreadableError(Exception):
    """The server wrote something that is not a message. The reply to some request may be lost."""


class ServerConnection(LanguageClient):
    """pygls' client over a child process. It keeps the messages that the server shows."""

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
        """Connect to a server that was started."""
        self.child = child
        self.protocol.set_writer(child)
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        """Read until the server ends, closes its output or writes nonsense; then fail every request."""
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
        """End the connection if a message cannot be read. A reply to a cancelled request is no error."""
        if source is JsonRpcException and isinstance(error, JsonRpcException | ValueError | RecursionError):
            raise _UnreadableError

    async def until_loaded(self, params: types.InitializeParams) -> dict[str, Any]:
        """Initialize, wait until the model is loaded or loading has failed, and return the counters."""
        await self.initialize_async(params)
        self.initialized(types.InitializedParams())
        await self.loaded.wait()
        return await self.metrics()

    async def while_alive(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine while the server keeps writing. Raises `ServerEndedError` when it falls silent."""
        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(coroutine)
        try:
            while not task.done():
                left_s = self.child.heard_at + SILENCE_TIMEOUT_S - loop.time()
                if left_s <= 0:
                    message = f"the server has sent nothing for {SILENCE_TIMEOUT_S:.0f} s"
                    raise ServerEndedError(message)
                await asyncio.wait([task], timeout=left_s)
            return task.result()
        finally:
            task.cancel()

    async def metrics(self) -> dict[str, Any]:
        """Return the server's counters."""
        while "staleMs" in (report := plain(await self.protocol.send_request_async("starcoder/metrics"))):
            pass  # the front's own answer: each takes it a while
        counters: dict[str, Any] = report
        return counters

    async def stop(self) -> None:
        """Stop the server: ask it to exit, then kill it."""
        try:
            with suppress(TimeoutError, ServerEndedError, JsonRpcException):
                async with asyncio.timeout(EXIT_TIMEOUT_S):
                    await self.shutdown_async(None)
                    self.exit(None)
                    await self.child.exited()
        finally:
            await self.child.part()
            await self._reading
