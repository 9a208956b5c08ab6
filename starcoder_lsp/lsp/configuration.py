"""The settings of one client's session: their layers, and how the client's own are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer

from starcoder_lsp.lsp.convert import plain
from starcoder_lsp.printable import printable
from starcoder_lsp.settings import SECTION, Settings
from starcoder_lsp.settings_layers import SettingsLayer, load_user_file, read_settings, sent_layer, user_file


@define
class Configuration:
    """Layers of settings: the client's options, the user's file, the client's workspace, and the user's commands.

    A later one overrides an earlier one.
    """

    options: object = field(factory=dict)
    workspace: object = field(factory=dict)
    chosen: dict[str, object] = field(factory=dict)
    _reported: set[str] = field(factory=set)

    def choose(self, values: Mapping[str, Any]) -> None:
        """Apply a choice that the user made by a command."""
        self.chosen |= values

    def read(self) -> tuple[Settings, tuple[str, ...]]:
        """Merge the layers; return the settings and the problems that were not returned before."""
        settings, problems = self._merged()
        own, used = self.own_model_path, settings.model.path
        if own and used not in ("", own) and "model" not in self.chosen:
            problems += (printable(f"model.path of {user_file()} is used, {used}, and not the editor's {own}"),)
        new = tuple(problem for problem in problems if problem not in self._reported)
        self._reported.update(new)
        return settings, new

    def peek(self) -> Settings:
        """Return the settings without reporting problems: the client cannot show messages yet."""
        return self._merged()[0]

    @property
    def own_model_path(self) -> str:
        """The model file that the editor's own settings name; empty if they name none."""
        return read_settings([sent_layer("initializationOptions", self.options)])[0].model.path

    def _merged(self) -> tuple[Settings, tuple[str, ...]]:
        return read_settings(
            [
                sent_layer("initializationOptions", self.options),
                load_user_file(user_file()),
                sent_layer("workspace/configuration", self.workspace, trusted=False),
                SettingsLayer("a command", self.chosen, trusted=True),
            ]
        )


def can_be_pulled(server: LanguageServer) -> bool:
    """Return whether the client answers `workspace/configuration`."""
    workspace = server.client_capabilities.workspace
    return workspace is not None and bool(workspace.configuration)


async def pull(server: LanguageServer) -> object:
    """Request the client's settings; return `None` if it has none or refuses."""
    params = types.ConfigurationParams(items=[types.ConfigurationItem(section=SECTION)])
    try:
        answer = plain(await server.workspace_configuration_async(params))
    except JsonRpcException:
        return None
    return answer[0] if isinstance(answer, list) and answer else None
