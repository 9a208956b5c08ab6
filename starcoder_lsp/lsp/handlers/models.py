"""The command that downloads or selects a model, and the offer of one after the demonstrator's first suggestion."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from pygls.exceptions import JsonRpcInvalidParams

if TYPE_CHECKING:
    from starcoder_lsp.lsp.model_offer import ModelOffer
    from starcoder_lsp.lsp.server import Server


def register(server: Server) -> None:
    """Add the command, and make the offer after the first suggestion."""

    @cache
    def offer() -> ModelOffer:
        from starcoder_lsp.lsp.model_offer import ModelOffer  # nothing of it is needed before a suggestion was shown

        return ModelOffer(server)

    was_made = False

    def on_suggestion() -> None:
        nonlocal was_made
        settings = server.session.settings
        if was_made or settings.model.path or settings.model.name or settings.engine.kind != "local":
            return
        was_made = True
        offer().make()

    server.on_suggestion = on_suggestion

    @server.command("starcoder.pullModel")
    async def pull_model(*names: Any) -> dict[str, str | None]:
        if len(names) > 1 or not all(isinstance(name, str) for name in names):
            message = "expected the name of a model, as `starcoder-lsp models list` shows it, or nothing"
            raise JsonRpcInvalidParams(message)
        offer().get(names[0] if names else None)
        return {"pulling": names[0] if names else None}
