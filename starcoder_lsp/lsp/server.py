"""The state that message handlers share: the session, the settings and messages to the user."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from attrs import asdict
from lsprotocol import types
from pygls.exceptions import FeatureNotificationError, JsonRpcException
from pygls.io_ import run_async
from pygls.lsp.server import LanguageServer

from starcoder_lsp import __version__, black_box
from starcoder_lsp.documents.documents import OutOfSyncError, UnknownDocumentError
from starcoder_lsp.documents.uris import path_of
from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.front.framing import Receive
from starcoder_lsp.front.replay import CHOSEN
from starcoder_lsp.lsp.configuration import Configuration, can_be_pulled, pull
from starcoder_lsp.lsp.greeting import NAME
from starcoder_lsp.lsp.lazy_converter import make_converter
from starcoder_lsp.lsp.progress import LoadProgress
from starcoder_lsp.lsp.protocol import Protocol, described
from starcoder_lsp.lsp.statistics import Statistics
from starcoder_lsp.lsp.streams import Input, Output
from starcoder_lsp.printable import printable
from starcoder_lsp.session.scheduler import SupersededError
from starcoder_lsp.session.session import Session
from starcoder_lsp.session.status import Status
from starcoder_lsp.settings import Settings

CLIENT_TIMEOUT_S = 1.0
"""The time for which loading the model waits for the client's settings. Later ones apply too. Not measured."""
EVERY_NOTEBOOK = types.NotebookDocumentSyncOptions([types.NotebookDocumentFilterWithNotebook(notebook="*")])
LOG_LEVELS = {
    "error": types.MessageType.Error,
    "warning": types.MessageType.Warning,
    "info": types.MessageType.Info,
    "debug": types.MessageType.Debug,
}


async def _for_client(*questions: Coroutine[Any, Any, None]) -> None:
    """Wait until the client has answered the questions, or `CLIENT_TIMEOUT_S` has passed."""
    await asyncio.wait([asyncio.ensure_future(question) for question in questions], timeout=CLIENT_TIMEOUT_S)


def completion_deadline_ms(settings: Settings) -> float:
    """Return the time from a completion request to its reply, in milliseconds, that the settings allow."""
    return settings.completion.timeout_ms + (settings.debounce.ms if settings.debounce.mode != "off" else 0)


class Server(LanguageServer):
    """pygls' server with one session."""

    protocol: Protocol

    def __init__(self) -> None:
        super().__init__(
            NAME,
            __version__,
            protocol_cls=Protocol,
            converter_factory=make_converter,
            max_workers=1,
            notebook_document_sync=EVERY_NOTEBOOK,
        )
        self.session = Session()
        self.configuration = Configuration()
        self.statistics = Statistics(self.session, self.warn)
        self.was_initialized = False
        self.was_shut_down = False
        self._ending: asyncio.Task[None] | None = None
        self._loading: asyncio.Task[None] | None = None
        self._loads_once_enabled = False
        self._n_loads = 0
        self._has_warned_of_waiting = False
        self._has_logged_versions = False
        self.on_suggestion: Callable[[], None] = lambda: None
        self.client_picks_files = False

    def serve(self, receive: Receive, writer: BinaryIO) -> None:
        """Serve the client until it leaves, then end the process. If the client is the parent process, end with it."""

        async def read() -> None:
            reader = Input(on_end=self.end)
            reader.listen(receive)
            await run_async(threading.Event(), reader, self.protocol, error_handler=self.report_server_error)

        self.protocol.set_writer(Output(writer, on_lost=self.leave))
        with suppress(KeyboardInterrupt):
            asyncio.run(read())

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Log a bug. An error of the client is in the reply and not logged."""
        if source is JsonRpcException and isinstance(error, ValueError | RecursionError):
            self.protocol.refuse_unreadable()
            return
        cause = sys.exc_info()[1] or error
        if not isinstance(cause, JsonRpcException):
            self.log(types.MessageType.Error, described(cause))
        elif source is FeatureNotificationError:
            self.log(types.MessageType.Warning, f"a notification is not as it must be: {cause.message}")

    def log(self, kind: types.MessageType, message: str) -> None:
        """Write a line to the client's log, if `logLevel` allows it."""
        if kind <= LOG_LEVELS[self.session.settings.log_level]:
            self.window_log_message(types.LogMessageParams(kind, message))

    def log_decline(self, uri: str) -> None:
        """Write to the log why a document that was opened gets no completions, if it gets none."""
        view = self.session.texts.view(uri)
        reason = self.session.builder.decline_reason(view) if view is not None else ""
        if reason:
            self.log(types.MessageType.Info, f"no completions in {printable(path_of(uri))}: {reason}")

    def report_sync(self, edited_uri: str = "") -> None:
        """Warn, once, that a document waits for its whole text; log, once, edits whose versions do not grow."""
        texts = self.session.texts
        waiting = texts.out_of_sync()
        self.session.status.wait_for(waiting)
        if waiting and not self._has_warned_of_waiting:
            self._has_warned_of_waiting = True
            name = printable(path_of(waiting[0]).rpartition("/")[2])
            self.warn(f"an edit of {name} could not be applied; close and open the file to get suggestions in it again")
        if edited_uri and not self._has_logged_versions and not texts.is_numbered(edited_uri):
            self._has_logged_versions = True
            self.log(types.MessageType.Warning, "this client's versions do not grow; edits are applied as they come")

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Log the error of a notification: a notification has no reply."""
        try:
            yield
        except (UnknownDocumentError, OutOfSyncError) as problem:
            self.log(types.MessageType.Warning, str(problem))

    def show_message(self, kind: types.MessageType, message: str) -> None:
        """Show a message to the user."""
        self.window_show_message(types.ShowMessageParams(kind, f"starcoder-lsp: {message}"))

    def warn(self, message: str) -> None:
        """Show a warning to the user."""
        self.show_message(types.MessageType.Warning, message)

    def choose(self, values: Mapping[str, Any]) -> None:
        """Apply settings that the user chose by a command; `values` are by their names in camelCase."""
        self.configuration.choose(values)
        if black_box.is_shared():
            self.protocol.notify(CHOSEN, self.configuration.chosen)
        self.read_settings()

    def read_settings(self) -> None:
        """Merge the layers of settings and show each problem once."""
        self.session.settings, problems = self.configuration.read()
        self.session.status.enable(is_enabled=self.session.settings.enabled)
        self.statistics.apply(self.session.settings)
        if black_box.is_shared():
            self.protocol.notify("starcoder/deadline", {"completionMs": completion_deadline_ms(self.session.settings)})
        for problem in problems:
            self.show_message(types.MessageType.Warning, problem)
        if self._loads_once_enabled and self.session.settings.enabled:
            self._loads_once_enabled = False
            self._loading = asyncio.create_task(self.load_model(if_enabled=True))

    def send_status(self, status: Status) -> None:
        """Send the status to a client that can show it."""
        self.protocol.notify("starcoder/didChangeStatus", asdict(status))

    async def pull_settings(self) -> None:
        """Request the client's settings and apply them when it replies."""
        if can_be_pulled(self):
            self.configuration.workspace = await pull(self)
            self.read_settings()

    async def load_model(self, *, if_enabled: bool = False) -> None:
        """Load the model; show progress and errors. With `if_enabled`, only once the settings turn completions on."""
        self._loads_once_enabled = False
        number = self._n_loads = self._n_loads + 1
        progress = LoadProgress(self, self.log)
        was_off = if_enabled and not self.session.settings.enabled  # Helix shows a token for ever that never begins
        await _for_client(self.pull_settings(), *(() if was_off else (progress.create(),)))
        self.read_settings()
        if if_enabled and not self.session.settings.enabled:
            if number == self._n_loads:  # else a later call loads the model
                self._loads_once_enabled = True
                self.session.slot.leave_empty()
            return
        if was_off:
            await _for_client(progress.create())
        progress.begin()
        outcome = "no model"
        try:
            model = await self.session.load_model(progress.report, self.warn)
            outcome = f"{model.prompts.name} is ready"
            await self.statistics.note_model(self.session.settings)
        except EngineError as error:
            self.show_message(types.MessageType.Error, str(error))
        except SupersededError:
            outcome = "cancelled"
        finally:
            progress.end(outcome)

    async def end(self) -> None:
        """End the process. After `shutdown`, write statistics and KV states first, also if the input ends meanwhile."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        if self.was_shut_down:
            await asyncio.gather(self.session.end(), self.statistics.end())
        self.leave()

    def leave(self) -> None:
        """End the process: at once, even while the model decodes."""
        os._exit(0 if self.was_shut_down else 1)
