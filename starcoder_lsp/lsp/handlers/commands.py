"""The commands of `workspace/executeCommand`."""

from __future__ import annotations

import asyncio
import json
import platform
from typing import TYPE_CHECKING, Any

from attrs import asdict
from pygls.exceptions import JsonRpcInvalidParams

from starcoder_lsp import __version__
from starcoder_lsp.lsp.convert import ACCEPT_COMMAND

if TYPE_CHECKING:
    from starcoder_lsp.lsp.server import Server
    from starcoder_lsp.session.session import Session


OPEN_ENGINE_SETTINGS = ("kind", "allow_http", "timeout_ms", "prefill_ahead", "prompt_form", "fallback")
"""The settings of `engine.*` that a report for an issue shows: none is an address, a header or a file's name."""


def register(server: Server) -> None:
    """Add the commands. Session and configuration do their work."""

    @server.command(ACCEPT_COMMAND)
    def accept(*names: Any) -> None:
        for name in names:
            server.session.acceptance.accept(str(name))

    @server.command("starcoder.toggle")
    def toggle() -> dict[str, bool]:
        server.choose({"enabled": not server.session.settings.enabled})
        return {"enabled": server.session.settings.enabled}

    @server.command("starcoder.restartModel")
    async def restart_model() -> dict[str, str | None]:
        await server.load_model()
        return server.session.status.report()

    @server.command("starcoder.selectModel")
    async def select_model(*paths: Any) -> dict[str, str | None]:
        if len(paths) != 1 or not isinstance(paths[0], str):
            message = "expected the path of a GGUF file"
            raise JsonRpcInvalidParams(message)
        server.choose({"model": {"path": paths[0]}})
        await server.load_model()
        return server.session.status.report()

    @server.command("starcoder.showStatus")
    def show_status() -> dict[str, str | None]:
        return server.session.status.report()

    @server.command("starcoder.clearCache")
    async def clear_cache() -> None:
        await server.session.clear_cache()

    @server.command("starcoder.exportDiagnostics")
    async def export_diagnostics() -> dict[str, str]:
        return {"markdown": await asyncio.to_thread(diagnostics, await server.session.report(), server.session)}


def diagnostics(report: dict[str, Any], session: Session) -> str:
    """Return a report to attach to an issue, without source text, names of files and addresses of servers."""
    report = {key: value for key, value in report.items() if key != "documents"}
    settings = asdict(session.settings)
    if report["model"] is not None and session.settings.engine.kind != "local":
        report["model"] = {key: value for key, value in report["model"].items() if key != "name"}
    settings["model"] = {key: value for key, value in settings["model"].items() if key not in {"path", "lora"}}
    settings["engine"] = {key: settings["engine"][key] for key in OPEN_ENGINE_SETTINGS}
    settings["disabled_globs"] = len(settings["disabled_globs"])
    lines = [
        f"# starcoder-lsp {__version__}",
        f"- {platform.platform()}, {platform.machine()}, Python {platform.python_version()}",
        f"- client: {session.client}",
        f"- status: {session.status.now.kind}",
    ]
    blocks = (("Settings", settings), ("Metrics", report))
    return "\n".join((*lines, *(f"\n## {name}\n```json\n{json.dumps(value, indent=2)}\n```" for name, value in blocks)))
