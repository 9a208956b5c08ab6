"""pygls with three changes: it keeps no documents, every request gets a reply, and no message is logged."""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from pathlib import Path
from typing import Any

from attrs import fields_dict
from lsprotocol import types
from pygls.exceptions import (
    JsonRpcException,
    JsonRpcInternalError,
    JsonRpcInvalidParams,
    JsonRpcInvalidRequest,
    JsonRpcParseError,
    JsonRpcServerNotInitialized,
)
from pygls.lsp.server import LanguageServer
from pygls.protocol import JsonRPCNotification, LanguageServerProtocol, lsp_method

from starcoder_lsp.lsp.client_uris import ClientUris
from starcoder_lsp.lsp.forgiving import MAX_DEPTH, forgive, is_too_deep
from starcoder_lsp.lsp.greeting import parts_of
from starcoder_lsp.lsp.shapes import misfit

MISUNDERSTOOD = "starcoder/misunderstood"
"""The method under which a notification with wrong parameters is handled. Not part of the protocol."""
BEFORE_INITIALIZE = (types.INITIALIZE, types.EXIT)
LAST_REPLIES_TIMEOUT_S = 0.5
"""The time that `shutdown` waits for replies that are due. They take a turn or two of the event loop."""


def silence_pygls() -> None:
    """Keep pygls quiet: it logs whole messages, source text included, at INFO and in its error reports."""
    logging.getLogger("pygls").setLevel(logging.CRITICAL + 1)


def described(error: BaseException) -> str:
    """Return an error's type and place. Its text is left out, since it may quote the user's source."""
    frames = list(traceback.walk_tb(error.__traceback__))
    where = f" at {Path(frames[-1][0].f_code.co_filename).name}:{frames[-1][1]}" if frames else ""
    return f"internal error: {type(error).__name__}{where}"


class Protocol(LanguageServerProtocol):
    """The protocol without pygls' own copy of each document and notebook, and with a reply to every request.

    That copy splits lines at form feeds and U+2028, clamps positions one short behind an unterminated last line, and
    costs a pass over the text for each edit.
    """

    def __init__(self, server: LanguageServer, converter: Any) -> None:
        super().__init__(server, converter)
        self.uris = ClientUris()
        self.initialize_parts: dict[str, Any] = {}
        """The members of the client's `initialize` that the server reads."""
        self._greeted_id: int | str | None = None
        self._unanswered: set[asyncio.Task[Any]] = set()

    def note_greeting(self, msg_id: int | str) -> None:
        """Note that `initialize` has its reply. The message still comes; its reply is made again and not sent."""
        self._greeted_id = msg_id

    def structure_message(self, data: dict[str, Any]) -> Any:
        """Return the JSON as it is: pygls would convert each object inside a message like a message."""
        return data

    def handle_message(self, message: Any) -> None:
        """Handle a message of the client, or refuse it."""
        try:
            understood = self._understood(message)
        except JsonRpcException as refusal:
            self._refuse(message if isinstance(message, dict) else {}, refusal)
        else:
            if "id" in message and self._is_notification(message.get("method")):
                self._send_data({"jsonrpc": self.VERSION, "id": message["id"], "result": None})
            super().handle_message(understood)

    def _understood(self, message: Any) -> Any:
        """Return a message as pygls' type. Raises `JsonRpcException` if it is not valid, or not valid at this time."""
        objection = self._objection(message)
        if objection is not None:
            raise objection
        method, params = message.get("method"), message.get("params")
        if method == types.INITIALIZE and (parts := parts_of(params)) is not None:
            message, params, self.initialize_parts = {**message, "params": parts}, parts, parts
        if method:
            self.uris.normalize(params)
            forgive(method, params)
            wrong = self._misfit(method, params)
            if wrong:
                text = f"the parameters of {method!r} are not those of the specification: {wrong}"
                raise JsonRpcInvalidParams(text)
        if method and self.get_message_type(method) is None:  # pygls wants exactly these members then
            members = ("jsonrpc", "id", "method", "params") if "id" in message else ("jsonrpc", "method", "params")
            message = {member: message.get(member) for member in members}
        try:
            return super().structure_message(message)
        except JsonRpcException as error:
            text = f"the parameters of {method!r} are not those of the specification"
            raise JsonRpcInvalidParams(text) from error

    def _misfit(self, method: str, params: object) -> str:
        """Return the parameter that has a wrong type, in words; empty if none has."""
        kind = types.METHOD_TO_TYPES.get(method, (None, None, None))[2]
        return "" if kind is None else misfit(params, kind)

    def _is_notification(self, method: object) -> bool:
        """Return whether a method of the specification has no reply."""
        kind = self.get_message_type(method) if isinstance(method, str) and method else None
        return kind is not None and not hasattr(kind, "id") and "id" not in fields_dict(kind)

    def _objection(self, message: Any) -> JsonRpcException | None:
        """Return the error of a message, its parameters aside, or `None`."""
        method = message.get("method", "") if isinstance(message, dict) else None
        if is_too_deep(message):
            return JsonRpcInvalidParams(f"nested more than {MAX_DEPTH} deep")
        if not isinstance(method, str) or message.get("jsonrpc") != self.VERSION:
            return JsonRpcInvalidRequest("this is not a message of JSON-RPC 2.0")
        if not method:
            return None
        if "id" in message and _id_of(message) is None:
            return JsonRpcInvalidRequest("an id is a number or a string")
        return self._out_of_turn(method)

    def _out_of_turn(self, method: str) -> JsonRpcException | None:
        """Return the error of a method that is not valid at this point of the session, or `None`."""
        if self._workspace is None and method not in BEFORE_INITIALIZE:
            return JsonRpcServerNotInitialized(f"{method!r} came before 'initialize'")
        if self._workspace is not None and method == types.INITIALIZE:
            return JsonRpcInvalidRequest("'initialize' came for the second time")
        if self._shutdown and method != types.EXIT:
            return JsonRpcInvalidRequest(f"{method!r} came after 'shutdown'")
        return None

    def _refuse(self, message: dict[str, Any], refusal: JsonRpcException) -> None:
        """Reply with an error to a message that is or may be a request. Replies and notifications get none."""
        if "result" in message or "error" in message:
            return
        if "id" in message or "method" not in message:  # a plain dictionary: pygls would leave out an id that is null
            error = refusal.to_response_error()
            self._send_data({"jsonrpc": self.VERSION, "id": _id_of(message), "error": error})
        is_notification = "method" in message and ("id" not in message or self._is_notification(message["method"]))
        if is_notification and isinstance(refusal, JsonRpcInvalidParams):
            misunderstood = {**message, "reason": refusal.message}
            super().handle_message(JsonRPCNotification(MISUNDERSTOOD, self.VERSION, misunderstood))

    def refuse_unreadable(self) -> None:
        """Reply to a message that is not JSON."""
        self._refuse({}, JsonRpcParseError("this is not JSON"))

    def _handle_request(self, msg_id: Any, method_name: str, params: Any) -> None:
        super()._handle_request(msg_id, method_name, params)
        task = self._request_futures.get(msg_id)
        if isinstance(task, asyncio.Task):
            self._unanswered.add(task)
            task.add_done_callback(self._unanswered.discard)

    def _send_response(self, msg_id: Any, result: Any = None, error: types.ResponseError | None = None) -> None:
        """Send a reply. For a bug it holds `described`; pygls would send the error's text and traceback."""
        if self._greeted_id is not None and msg_id == self._greeted_id:
            self._greeted_id = None
            return
        raised = sys.exc_info()[1]
        if error is not None and error.code == JsonRpcInternalError.CODE and raised is not None:
            error = types.ResponseError(error.code, described(raised))
        super()._send_response(msg_id, result, error)

    async def last_replies(self) -> None:
        """Wait until every request but the current one has its reply."""
        others = self._unanswered - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=LAST_REPLIES_TIMEOUT_S)

    @lsp_method(types.SHUTDOWN)
    async def lsp_shutdown(self, *args: Any) -> None:  # type: ignore[override]  # a coroutine is a handler too
        """Leave `shutdown` to our handler. pygls would answer running requests as if the client had cancelled them."""
        self._shutdown = True
        self.fm.features[types.SHUTDOWN](*args)
        await self.last_replies()

    @lsp_method(types.EXIT)
    async def lsp_exit(self, *args: Any) -> None:  # type: ignore[override]  # as above
        """Leave `exit` to our handler."""
        await self.last_replies()
        await self.fm.features[types.EXIT](*args)

    # pygls' own are generators, and it keeps a future of each for as long as the server runs.

    @lsp_method(types.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: types.DidOpenTextDocumentParams) -> None:
        """Leave the document to our handler."""
        self.fm.features[types.TEXT_DOCUMENT_DID_OPEN](params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> None:
        """Leave the edit to our handler."""
        self.fm.features[types.TEXT_DOCUMENT_DID_CHANGE](params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: types.DidCloseTextDocumentParams) -> None:
        """Leave the document to our handler."""
        self.fm.features[types.TEXT_DOCUMENT_DID_CLOSE](params)

    @lsp_method(types.NOTEBOOK_DOCUMENT_DID_OPEN)
    def lsp_notebook_document__did_open(self, params: types.DidOpenNotebookDocumentParams) -> None:
        """Leave the notebook to our handler."""
        self.fm.features[types.NOTEBOOK_DOCUMENT_DID_OPEN](params)

    @lsp_method(types.NOTEBOOK_DOCUMENT_DID_CHANGE)
    def lsp_notebook_document__did_change(self, params: types.DidChangeNotebookDocumentParams) -> None:
        """Leave the change to our handler."""
        self.fm.features[types.NOTEBOOK_DOCUMENT_DID_CHANGE](params)

    @lsp_method(types.NOTEBOOK_DOCUMENT_DID_CLOSE)
    def lsp_notebook_document__did_close(self, params: types.DidCloseNotebookDocumentParams) -> None:
        """Leave the notebook to our handler."""
        self.fm.features[types.NOTEBOOK_DOCUMENT_DID_CLOSE](params)


def _id_of(message: Any) -> int | str | None:
    """Return a message's id, or `None` without a valid one."""
    value = message.get("id") if isinstance(message, dict) else None
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None
