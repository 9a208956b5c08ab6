"""Ask the user by a message with buttons, in clients that show them."""

from __future__ import annotations

from collections.abc import Sequence

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer

from starcoder_lsp.lsp import convert


class NoButtonsError(Exception):
    """The client shows no buttons."""


def has_buttons(server: LanguageServer) -> bool:
    """Return whether the client says that it answers `window/showMessageRequest`."""
    window = server.client_capabilities.window
    return window is not None and window.show_message is not None


async def ask(server: LanguageServer, message: str, buttons: Sequence[str]) -> str | None:
    """Show a message and return the button that the user pressed, `None` if the message was closed.

    Raises `NoButtonsError` if the client shows none, or answers with an error. lsp-mode shows them and does not say so.
    """
    if not has_buttons(server) and not convert.has_own_capability(server.client_capabilities.experimental, "buttons"):
        raise NoButtonsError
    actions = [types.MessageActionItem(button) for button in buttons]
    params = types.ShowMessageRequestParams(types.MessageType.Info, f"starcoder-lsp: {message}", actions)
    try:
        pressed = await server.window_show_message_request_async(params)
    except JsonRpcException as error:
        raise NoButtonsError from error
    return pressed.title if pressed is not None and pressed.title in buttons else None


async def open_page(server: LanguageServer, url: str) -> bool:
    """Let the client open a web page in the user's browser; return whether it could."""
    window = server.client_capabilities.window
    if window is None or window.show_document is None or not window.show_document.support:
        return False
    try:
        shown = await server.window_show_document_async(types.ShowDocumentParams(uri=url, external=True))
    except JsonRpcException:
        return False
    return bool(shown.success)
