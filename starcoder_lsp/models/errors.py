"""The error of this package."""

from __future__ import annotations

from starcoder_lsp.engine.engine import EngineError


class ModelsError(EngineError):
    """An operation on a model file failed. The text is one line for the user with the reason and the remedy."""
