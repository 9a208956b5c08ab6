"""From `initialize` to `exit`: the client's name, capabilities, settings and folders."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from starcoder_lsp.lsp import convert
from starcoder_lsp.lsp.configuration import can_be_pulled
from starcoder_lsp.lsp.greeting import Offers
from starcoder_lsp.lsp.handlers import code_actions, menu
from starcoder_lsp.settings import SECTION

if TYPE_CHECKING:
    from starcoder_lsp.lsp.server import Server


def register(server: Server) -> None:
    """Add the handlers. `initialize` adds those that only some clients need."""

    @server.feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        server.configuration.options = convert.plain(params.initialization_options)
        server.session.history.roots = convert.roots_of(params)
        server.session.client = convert.client_of(params)
        server.session.settings = server.configuration.peek()
        server.statistics.is_private = convert.is_private(params)
        if convert.wants_status(params):
            server.session.status.on_change = server.send_status
        server.client_picks_files = convert.picks_files(params)
        offers = Offers.of(server.protocol.initialize_parts, server.session.settings)
        if offers.menu:
            menu.register(server)
        if offers.code_actions:
            code_actions.register(server)
        server.session.texts.encoding = convert.position_encoding(
            server.protocol.workspace.position_encoding or "utf-16"
        )

    @server.feature(types.INITIALIZED)
    async def initialized(_params: types.InitializedParams) -> None:
        if not server.was_initialized:
            server.was_initialized = True
            await asyncio.gather(server.load_model(if_enabled=True), _watch_configuration(server))

    @server.feature(types.SHUTDOWN)
    def shutdown(_params: None) -> None:
        server.was_shut_down = True
        server.session.stop()

    @server.feature(types.EXIT)
    async def exit_process(_params: None) -> None:
        await server.end()

    _register_workspace(server)


def _register_workspace(server: Server) -> None:
    """Add the handlers for settings and folders."""

    @server.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    def did_change_workspace_folders(params: types.DidChangeWorkspaceFoldersParams) -> None:
        removed = {convert.folder_of(folder.uri) for folder in params.event.removed}
        added = (convert.folder_of(folder.uri) for folder in params.event.added)
        kept = [root for root in server.session.history.roots if root not in removed]
        server.session.history.roots = tuple(dict.fromkeys([*kept, *(root for root in added if root is not None)]))

    @server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    async def did_change_configuration(params: types.DidChangeConfigurationParams) -> None:
        if can_be_pulled(server):
            await server.pull_settings()
        else:
            server.configuration.workspace = convert.plain(params.settings)
            server.read_settings()


async def _watch_configuration(server: Server) -> None:
    """Register for changes of settings if the client supports registration."""
    workspace = server.client_capabilities.workspace
    changes = workspace.did_change_configuration if workspace is not None else None
    if changes is not None and changes.dynamic_registration:
        method = types.WORKSPACE_DID_CHANGE_CONFIGURATION
        options = types.DidChangeConfigurationRegistrationOptions(section=SECTION)
        registration = types.Registration(method, method, options)
        with suppress(JsonRpcException):
            await server.client_register_capability_async(types.RegistrationParams([registration]))
