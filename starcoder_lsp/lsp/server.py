"""The server: one short handler for each message, no logic. What they do is in `session.py`."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from attrs import asdict
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.io_ import run_async
from pygls.lsp.server import LanguageServer

from starcoder_lsp import __version__
from starcoder_lsp.documents.documents import OutOfStep, UnknownDocument
from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.lsp import convert, editor_process
from starcoder_lsp.lsp.actions import register_actions, wants_actions
from starcoder_lsp.lsp.commands import register_commands
from starcoder_lsp.lsp.configuration import Configuration, can_be_pulled, pull
from starcoder_lsp.lsp.progress import LoadProgress
from starcoder_lsp.lsp.protocol import MISUNDERSTOOD, Protocol, described, silence_pygls
from starcoder_lsp.lsp.scheduler import Superseded
from starcoder_lsp.lsp.session import Session
from starcoder_lsp.lsp.status import Status
from starcoder_lsp.lsp.streams import Input, Output, Receive
from starcoder_lsp.lsp.suggesting import register_completion, register_menu, wants_menu
from starcoder_lsp.settings import SECTION

NAME = "starcoder-lsp"
CLIENT_TIMEOUT_S = 1.0
"""How long the model waits for what a client has to answer first. What comes later is taken too."""
EVERY_NOTEBOOK = types.NotebookDocumentSyncOptions([types.NotebookDocumentFilterWithNotebook(notebook="*")])
MOST_LOGGED = {
    "error": types.MessageType.Error,
    "warning": types.MessageType.Warning,
    "info": types.MessageType.Info,
    "debug": types.MessageType.Debug,
}


class Server(LanguageServer):
    """pygls' server and our session."""

    protocol: Protocol

    def __init__(self) -> None:
        super().__init__(NAME, __version__, protocol_cls=Protocol, max_workers=1, notebook_document_sync=EVERY_NOTEBOOK)
        self.session = Session()
        self.configuration = Configuration()
        self.was_initialized = False
        self.was_shut_down = False
        self.is_child = False

    def serve(self, receive: Receive, writer: BinaryIO, *, is_child: bool) -> None:
        """Serve the client until it leaves; ends the process. A child of the client ends with it in any case."""
        self.is_child = is_child

        async def read() -> None:
            reader = Input(on_end=self.leave)
            reader.listen(receive)
            await run_async(threading.Event(), reader, self.protocol, error_handler=self.report_server_error)

        self.protocol.set_writer(Output(writer, on_lost=self.leave))
        with suppress(KeyboardInterrupt):
            asyncio.run(read())

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Tell the log of a bug. What a client did wrong stands in the reply to it."""
        if source is JsonRpcException and isinstance(error, ValueError | RecursionError):
            self.protocol.refuse_unreadable()
            return
        cause = sys.exc_info()[1] or error
        if not isinstance(cause, JsonRpcException):
            self.log(types.MessageType.Error, described(cause))

    def log(self, kind: types.MessageType, message: str) -> None:
        """Write a line to the client's log, if `logLevel` has it so."""
        if kind <= MOST_LOGGED[self.session.settings.log_level]:
            self.window_log_message(types.LogMessageParams(kind, message))

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Write to the log what a notification got wrong: nobody waits for an answer to it."""
        try:
            yield
        except (UnknownDocument, OutOfStep) as problem:
            self.log(types.MessageType.Warning, str(problem))

    def tell(self, kind: types.MessageType, message: str) -> None:
        """Show one message to the person."""
        self.window_show_message(types.ShowMessageParams(kind, f"starcoder-lsp: {message}"))

    def warn(self, message: str) -> None:
        """Show one message that is no error."""
        self.tell(types.MessageType.Warning, message)

    def choose(self, values: Mapping[str, Any]) -> None:
        """Take a choice that the person made by a command."""
        self.configuration.choose(values)
        self.read_settings()

    def read_settings(self) -> None:
        """Merge the layers of settings and tell of each problem once."""
        self.session.settings, problems = self.configuration.read()
        self.session.status.enable(is_enabled=self.session.settings.enabled)
        for problem in problems:
            self.tell(types.MessageType.Warning, problem)

    def tell_status(self, status: Status) -> None:
        """Tell a client that can show it."""
        self.protocol.notify("starcoder/didChangeStatus", asdict(status))

    async def pull_settings(self) -> None:
        """Take the client's settings, if it has any, whenever it answers."""
        if can_be_pulled(self):
            self.configuration.workspace = await pull(self)
            self.read_settings()

    async def load_model(self) -> None:
        """Load the model and tell of it."""
        progress = LoadProgress(self, self.log)
        questions = [asyncio.ensure_future(self.pull_settings()), asyncio.ensure_future(progress.create())]
        await asyncio.wait(questions, timeout=CLIENT_TIMEOUT_S)
        self.read_settings()
        progress.begin()
        outcome = "no model"
        try:
            model = await self.session.load_model(progress.report, self.warn)
            outcome = f"{model.prompts.name} is ready"
        except EngineError as error:
            self.tell(types.MessageType.Error, str(error))
        except Superseded:
            outcome = "given up"
        finally:
            progress.end(outcome)

    def watch_editor(self, process_id: int | None) -> None:
        """Leave when the editor does. Over a socket its process may be one of another machine."""
        if self.is_child:
            editor_process.watch(process_id, on_end=self.leave)

    def leave(self) -> None:
        """End the process: at once, even while the model decodes."""
        os._exit(0 if self.was_shut_down else 1)


def make_server() -> Server:
    """A server with its handlers, not started."""
    silence_pygls()
    server = Server()
    register_lifecycle(server)
    register_workspace(server)
    register_documents(server)
    register_notebooks(server)
    register_completion(server)
    register_commands(server)
    return server


def register_lifecycle(server: Server) -> None:
    """From `initialize` to `exit`."""

    @server.feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        server.watch_editor(params.process_id)
        server.configuration.options = convert.plain(params.initialization_options)
        server.session.recent.roots = convert.roots_of(params)
        server.session.client = convert.client_of(params)
        server.session.settings = server.configuration.peek()
        if convert.wants_status(params):
            server.session.status.on_change = server.tell_status
        if wants_menu(server, params):
            register_menu(server)
        if wants_actions(params):
            register_actions(server)
        server.session.encoding = convert.position_encoding(server.protocol.workspace.position_encoding or "utf-16")

    @server.feature(types.INITIALIZED)
    async def initialized(_params: types.InitializedParams) -> None:
        if not server.was_initialized:
            server.was_initialized = True
            await asyncio.gather(server.load_model(), watch_configuration(server))

    @server.feature(types.SHUTDOWN)
    def shutdown(_params: None) -> None:
        server.was_shut_down = True
        server.session.stop()

    @server.feature(types.EXIT)
    async def exit_process(_params: None) -> None:
        if server.was_shut_down:
            await server.session.end()
        server.leave()


def register_workspace(server: Server) -> None:
    """Settings and folders."""

    @server.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    def did_change_workspace_folders(params: types.DidChangeWorkspaceFoldersParams) -> None:
        removed = {convert.folder_of(folder.uri) for folder in params.event.removed}
        added = (convert.folder_of(folder.uri) for folder in params.event.added)
        kept = [root for root in server.session.recent.roots if root not in removed]
        server.session.recent.roots = tuple(dict.fromkeys([*kept, *(root for root in added if root is not None)]))

    @server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    async def did_change_configuration(params: types.DidChangeConfigurationParams) -> None:
        if can_be_pulled(server):
            await server.pull_settings()
        else:
            server.configuration.workspace = convert.plain(params.settings)
            server.read_settings()


def register_documents(server: Server) -> None:
    """What the editor has open."""

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def did_open(params: types.DidOpenTextDocumentParams) -> None:
        document = params.text_document
        server.session.open(document.uri, document.language_id, document.version, document.text)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def did_change(params: types.DidChangeTextDocumentParams) -> None:
        document, edits = params.text_document, convert.edits(params.content_changes)
        with server.noting():
            server.session.change(document.uri, document.version, edits)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def did_close(params: types.DidCloseTextDocumentParams) -> None:
        with server.noting():
            server.session.close_document(params.text_document.uri)

    @server.feature("textDocument/didFocus")
    def did_focus(params: Any) -> None:
        with server.noting():
            server.session.focus(convert.text_document(params))

    @server.feature(MISUNDERSTOOD)
    def misunderstood(message: dict[str, Any]) -> None:
        """An edit that is not understood is an edit that is missing here."""
        method = message["method"]
        server.log(types.MessageType.Warning, f"the parameters of {method!r} are not those of the specification")
        if method in (types.TEXT_DOCUMENT_DID_CHANGE, types.NOTEBOOK_DOCUMENT_DID_CHANGE):
            server.session.lose_step(convert.uri_of(message.get("params")))


def register_notebooks(server: Server) -> None:
    """What the editor has open in cells."""

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_OPEN)
    def did_open(params: types.DidOpenNotebookDocumentParams) -> None:
        notebook, texts = params.notebook_document, convert.cell_texts(params.cell_text_documents)
        server.session.open_notebook(notebook.uri, notebook.version, convert.cells(notebook.cells), texts)

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CHANGE)
    def did_change(params: types.DidChangeNotebookDocumentParams) -> None:
        notebook, change = params.notebook_document, convert.notebook_change(params.change)
        with server.noting():
            server.session.change_notebook(notebook.uri, notebook.version, change)

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CLOSE)
    def did_close(params: types.DidCloseNotebookDocumentParams) -> None:
        with server.noting():
            server.session.close_notebook(params.notebook_document.uri)


async def watch_configuration(server: Server) -> None:
    """Ask to be told when settings change, where the client wants to be asked."""
    workspace = server.client_capabilities.workspace
    changes = workspace.did_change_configuration if workspace is not None else None
    if changes is not None and changes.dynamic_registration:
        method = types.WORKSPACE_DID_CHANGE_CONFIGURATION
        options = types.DidChangeConfigurationRegistrationOptions(section=SECTION)
        registration = types.Registration(method, method, options)
        with suppress(JsonRpcException):
            await server.client_register_capability_async(types.RegistrationParams([registration]))
