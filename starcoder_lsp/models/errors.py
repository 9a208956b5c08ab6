"""The error of everything about model files that a user can cause or mend."""

from __future__ import annotations

from starcoder_lsp.engine.engine import EngineError


class ModelsError(EngineError):
    """Something about a model file failed. The text is one line for a user that says what to do."""
