"""The server: one short handler for each message, no logic. What they do is in `session.py`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer

from starcoder_lsp import __version__
from starcoder_lsp.documents.documents import OutOfStep, UnknownDocument
from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.lsp import convert
from starcoder_lsp.lsp.progress import LoadProgress
from starcoder_lsp.lsp.protocol import Protocol, silence_pygls
from starcoder_lsp.lsp.session import Session
from starcoder_lsp.settings import SECTION, SettingsLayer, load_user_file, read_settings, user_file

NAME = "starcoder-lsp"


class Server(LanguageServer):
    """pygls' server and our session."""

    def __init__(self) -> None:
        super().__init__(NAME, __version__, protocol_cls=Protocol, max_workers=1)
        self.session = Session()
        self.layers: list[SettingsLayer] = []
        self.was_shut_down = False

    def report_server_error(self, error: Exception, source: Any) -> None:  # noqa: ARG002  as in pygls
        """Tell the log which kind of error it was; its text may quote the user's source."""
        self.log(types.MessageType.Error, f"internal error: {type(error).__name__}")

    def log(self, kind: types.MessageType, message: str) -> None:
        """Write a line to the client's log."""
        self.window_log_message(types.LogMessageParams(kind, message))

    def tell(self, kind: types.MessageType, message: str) -> None:
        """Show one message to the person."""
        self.window_show_message(types.ShowMessageParams(kind, f"starcoder-lsp: {message}"))

    def read_settings(self) -> None:
        """Merge the layers of settings and tell of each problem once."""
        self.session.settings, problems = read_settings(self.layers)
        for problem in problems:
            self.tell(types.MessageType.Warning, problem)

    def leave(self) -> None:
        """End the process: at once, even while the model decodes."""
        self.session.close()
        sys.stdout.flush()
        os._exit(0 if self.was_shut_down else 1)


def not_open(problem: UnknownDocument) -> JsonRpcInvalidParams:
    """The error for a request about a document that the client has not opened."""
    return JsonRpcInvalidParams(f"the document {problem} is not open")


def make_server() -> Server:
    """A server with its handlers, not started."""
    silence_pygls()
    server = Server()
    register_lifecycle(server)
    register_documents(server)
    register_completion(server)
    return server


def register_lifecycle(server: Server) -> None:
    """From `initialize` to `exit`."""

    @server.feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        given = convert.plain(params.initialization_options)
        values = given.get(SECTION, given) if isinstance(given, Mapping) else given or {}
        server.session.encoding = convert.position_encoding(server.protocol.workspace.position_encoding or "utf-16")
        server.layers = [SettingsLayer("initializationOptions", values, trusted=True), load_user_file(user_file())]

    @server.feature(types.INITIALIZED)
    async def initialized(_params: types.InitializedParams) -> None:
        server.read_settings()
        progress = LoadProgress(server)
        await progress.begin()
        try:
            model = await server.session.load_model(progress.report)
        except EngineError as error:
            progress.end("no model")
            server.tell(types.MessageType.Error, str(error))
        else:
            progress.end(f"{model.engine.info.name} is ready")

    @server.feature(types.SHUTDOWN)
    def shutdown(_params: None) -> None:
        server.was_shut_down = True
        server.session.stop()

    @server.feature(types.EXIT)
    def exit_process(_params: None) -> None:
        server.leave()


def register_documents(server: Server) -> None:
    """What the editor has open."""

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def did_open(params: types.DidOpenTextDocumentParams) -> None:
        document = params.text_document
        server.session.documents.open(document.uri, document.language_id, document.version, document.text)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def did_change(params: types.DidChangeTextDocumentParams) -> None:
        document, edits = params.text_document, convert.edits(params.content_changes)
        try:
            server.session.change(document.uri, document.version, edits)
        except (UnknownDocument, OutOfStep) as problem:
            server.log(types.MessageType.Warning, str(problem))

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def did_close(params: types.DidCloseTextDocumentParams) -> None:
        server.session.close_document(params.text_document.uri)


def register_completion(server: Server) -> None:
    """Completions and what can be asked about them."""

    @server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
    async def inline_completion(params: types.InlineCompletionParams) -> types.InlineCompletionList | None:
        automatic = params.context.trigger_kind == types.InlineCompletionTriggerKind.Automatic
        try:
            completion = await server.session.complete(
                params.text_document.uri, params.position.line, params.position.character, automatic=automatic
            )
        except UnknownDocument as problem:
            raise not_open(problem) from problem
        except EngineError as problem:
            server.log(types.MessageType.Error, str(problem))
            return None
        return None if completion is None else convert.inline_completions(completion, server.session.encoding)

    @server.feature("starcoder/explain")
    async def explain(params: Any) -> dict[str, Any] | None:
        uri, position = convert.text_document_position(params)
        try:
            return await server.session.explain(uri, position.line, position.character)
        except UnknownDocument as problem:
            raise not_open(problem) from problem

    @server.feature("starcoder/metrics")
    def metrics(_params: None) -> dict[str, Any]:
        return server.session.report()

    @server.command(convert.ACCEPT_COMMAND)
    def accept() -> None:
        server.session.metrics.accepted += 1
