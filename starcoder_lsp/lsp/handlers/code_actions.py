"""Code actions: the offers at a place, and the edit of the one that the user picks.

An offer is made from the syntax alone and has no edit. Resolving it runs the model. The edit applies to the version of
the text that the offer was made for; if that has changed, there is no edit, and none for a test file that has changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen
from lsprotocol import types
from pygls.exceptions import JsonRpcContentModified, JsonRpcException, JsonRpcInvalidParams

from starcoder_lsp.background import in_background
from starcoder_lsp.documents.documents import UnknownDocumentError
from starcoder_lsp.documents.notebooks import View
from starcoder_lsp.documents.uris import path_of
from starcoder_lsp.documents.workspace import WorkspaceContext, workspace_at
from starcoder_lsp.engine.engine import Cancellation, EngineError
from starcoder_lsp.lsp import convert
from starcoder_lsp.lsp.handlers.inline_completion import not_open
from starcoder_lsp.lsp.progress import cancellable_progress
from starcoder_lsp.rewrites.rewrite import ACTION_KINDS, ActionKind, CannotWriteError, Rewrite, fill_hole, offer_actions
from starcoder_lsp.rewrites.targets import ActionRequest, Hole
from starcoder_lsp.session.scheduler import SupersededError

if TYPE_CHECKING:
    from starcoder_lsp.lsp.server import Server

PROTOCOL_KINDS = tuple(dict.fromkeys(kind.protocol_kind for kind in ACTION_KINDS))
NO_LONGER = "nothing can be written there any more"


@frozen
class Picked:
    """The `data` of an offer: its kind and its place, in one version of the text."""

    uri: str
    version: int
    kind: str
    place: types.Range
    message: str

    @classmethod
    def of(cls, action: types.CodeAction) -> Picked:
        """Read the `data` of an action that the client sent. Raises `JsonRpcInvalidParams`."""
        try:
            data = convert.plain(action.data)
            start, end = (types.Position(*place) for place in data["place"])
            return cls(
                str(data["uri"]), int(data["version"]), str(data["kind"]), types.Range(start, end), str(data["message"])
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            message = "this server did not offer this code action"
            raise JsonRpcInvalidParams(message) from error

    def as_json(self) -> dict[str, Any]:
        """Return the `data` of an offer."""
        ends = (self.place.start, self.place.end)
        place = [[end.line, end.character] for end in ends]
        return {"uri": self.uri, "version": self.version, "kind": self.kind, "place": place, "message": self.message}

    def asked(self, view: View, server: Server) -> ActionRequest:
        """Return the place in the text that the model sees."""
        text, encoding, place = view.own.text, server.session.texts.encoding, self.place
        start_byte, end_byte = sorted(
            view.offset_byte + text.byte_at(end.line, end.character, encoding) for end in (place.start, place.end)
        )
        return ActionRequest(view.whole, start_byte, end_byte, self.message)


def register(server: Server) -> None:
    """Add the handlers, for a client that accepts an action whose edit comes later."""

    @server.feature(
        types.TEXT_DOCUMENT_CODE_ACTION,
        types.CodeActionOptions(code_action_kinds=PROTOCOL_KINDS, resolve_provider=True),
    )
    async def code_action(params: types.CodeActionParams) -> list[types.CodeAction]:
        view = writable(server, params.text_document.uri)
        if view is None:
            return []
        return await asyncio.to_thread(lambda: list(offered(server, view, params)))

    @server.feature(types.CODE_ACTION_RESOLVE)
    async def resolve(action: types.CodeAction) -> types.CodeAction:
        picked = Picked.of(action)
        view = writable(server, picked.uri)
        if view is None:
            raise failed(NO_LONGER)
        if view.own.version != picked.version:
            raise JsonRpcContentModified
        async with cancellable_progress(server, action.title) as progress:
            rewrite = await of_now(server, view, await written(server, view, picked, progress.report))
        action.edit = workspace_edit(server, view, rewrite)
        server.session.observation.offer_rewrite(view, picked.kind, rewrite)
        return action


def writable(server: Server, uri: str) -> View | None:
    """Return a document if the model can write in it, see `RequestBuilder`. Raises `JsonRpcException` if not open."""
    try:
        return server.session.builder.writable(uri)
    except UnknownDocumentError as problem:
        raise not_open(problem) from problem


def offered(server: Server, view: View, params: types.CodeActionParams) -> Iterator[types.CodeAction]:
    """Yield the actions of the wanted kinds at a place. Not on the event loop: the text may need a parse."""
    editing = server.client_capabilities.text_document
    known = editing.code_action.tag_support if editing is not None and editing.code_action is not None else None
    is_tagged = known is not None and types.CodeActionTag.LlmGenerated in known.value_set
    for diagnostic in (*params.context.diagnostics, None):
        place, message = (diagnostic.range, diagnostic.message) if diagnostic else (params.range, "")
        picked = Picked(params.text_document.uri, view.own.version, "", place, message)
        for kind, hole in offer_actions(picked.asked(view, server)) if message or diagnostic is None else ():
            is_own = view.offset_byte <= hole.start_byte <= hole.end_byte <= view.offset_byte + len(view.own.text.data)
            if is_own and is_wanted(kind, params.context.only):
                yield types.CodeAction(
                    title=kind.title.format(hole.name),
                    kind=kind.protocol_kind,
                    diagnostics=[diagnostic] if diagnostic else None,
                    data=Picked(picked.uri, picked.version, kind.name, place, message).as_json(),
                    tags=[types.CodeActionTag.LlmGenerated] if is_tagged else None,
                )


def is_wanted(kind: ActionKind, only: Iterable[str] | None) -> bool:
    """Return whether a kind is one of `only`, or a kind below one of them."""
    return only is None or any(f"{kind.protocol_kind}.".startswith(f"{wanted}.") or not wanted for wanted in only)


async def written(server: Server, view: View, picked: Picked, report: Callable[[str], None]) -> Rewrite:
    """Run the model and return what it wrote. An edit or a newer request ends it. Raises `JsonRpcException`."""
    session = server.session
    request = session.builder.request_at(view)
    kind = next((kind for kind in ACTION_KINDS if kind.name == picked.kind), None)
    if kind is None or request is None:
        raise failed(NO_LONGER)

    reported = {0}

    def on_texts(texts: tuple[bytes, ...]) -> None:
        n_lines = max(text.count(b"\n") for text in texts)
        if n_lines not in reported:
            reported.add(n_lines)
            report(f"{n_lines} line{'s'[: n_lines > 1]}")

    async def work(cancellation: Cancellation) -> Rewrite:
        hole = await in_background(placed, server, kind, picked.asked(view, server), request.workspace_context)
        session.observation.ask_rewrite(view, kind.name, hole)
        rewrite = await fill_hole(hole, request, cancellation, on_texts=on_texts)
        session.metrics.count_tokens(rewrite.completion)
        if rewrite.completion.reason:
            message = f"the model wrote nothing usable ({rewrite.completion.reason})"
            raise CannotWriteError(message)
        return rewrite

    session.status.count_running(1)
    try:
        return await session.scheduler.run(view.key, work)
    except SupersededError as superseded:
        now = None
        with suppress(UnknownDocumentError):
            now = session.builder.writable(picked.uri)
        is_same = now is not None and now.own.version == picked.version
        raise failed("a newer request replaced this one") if is_same else JsonRpcContentModified() from superseded
    except (EngineError, CannotWriteError) as problem:
        raise failed(str(problem)) from problem
    finally:
        session.status.count_running(-1)


async def of_now(server: Server, view: View, rewrite: Rewrite) -> Rewrite:
    """Return the rewrite of another file for the version that the editor has open by now.

    Raises `JsonRpcContentModified` if its text is another one by now, in the editor or, unless it is open there, on the
    disk. An edit of `view` ends the work itself.
    """
    session, expected = server.session, rewrite.snapshot
    if expected is view.whole:
        return rewrite
    workspace = workspace_at(session.history.root_of(view.whole.uri))
    on_disk = await in_background(workspace.read, path_of(expected.uri), session.settings.disabled_globs)
    in_editor = session.texts.documents.get(expected.uri)
    now = on_disk if in_editor is None else in_editor
    if (b"" if now is None else now.text.data) != expected.text.data:
        raise JsonRpcContentModified
    return rewrite if in_editor is None else evolve(rewrite, snapshot=in_editor)


def placed(server: Server, kind: ActionKind, asked: ActionRequest, around: WorkspaceContext) -> Hole:
    """Return the hole to fill. Not on the event loop: files may be read. Raises `CannotWriteError`."""
    hole = kind.find(asked)
    if hole is None:
        raise CannotWriteError(NO_LONGER)
    hole = kind.place(hole, around, server.session.settings)
    if hole.is_new_file and not can_make_files(server):
        name = hole.snapshot.uri.rpartition("/")[2]
        message = f"there is no {name} yet, and this editor does not let a server create a file"
        raise CannotWriteError(message)
    return hole


def editing_capabilities(server: Server) -> types.WorkspaceEditClientCapabilities:
    """Return the client's capabilities for edits."""
    workspace = server.client_capabilities.workspace
    return (workspace.workspace_edit if workspace is not None else None) or types.WorkspaceEditClientCapabilities()


def can_make_files(server: Server) -> bool:
    """Return whether an edit may create a file in this client."""
    known = editing_capabilities(server)
    return bool(known.document_changes) and types.ResourceOperationKind.Create in (known.resource_operations or ())


def workspace_edit(server: Server, view: View, rewrite: Rewrite) -> types.WorkspaceEdit:
    """Return the edit, for the version of the text that the rewrite was made for."""
    is_here = rewrite.snapshot is view.whole
    own, offset_byte = (view.own, view.offset_byte) if is_here else (rewrite.snapshot, 0)
    places = (
        convert.position(own.text, byte - offset_byte, server.session.texts.encoding)
        for byte in (rewrite.start_byte, rewrite.end_byte)
    )
    edit, uri = types.TextEdit(types.Range(*places), rewrite.text), server.protocol.uris.spelled(own.uri)
    if not editing_capabilities(server).document_changes:
        return types.WorkspaceEdit(changes={uri: [edit]})
    is_open = is_here or own.uri in server.session.texts.documents
    document = types.OptionalVersionedTextDocumentIdentifier(uri, own.version if is_open and own.is_numbered else None)
    created = [types.CreateFile(uri=uri)] if rewrite.is_new_file else []
    return types.WorkspaceEdit(document_changes=[*created, types.TextDocumentEdit(document, [edit])])


def failed(message: str) -> JsonRpcException:
    """Return the error of a failed action. `message` is one line for the user."""
    return JsonRpcException(message, types.LSPErrorCodes.RequestFailed)
