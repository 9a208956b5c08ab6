"""The errors of a remote engine. Each text is one line for a user, without source text and without keys."""

from __future__ import annotations

from starcoder_lsp.engine.engine import EngineError, EngineLostError


class EngineAwayError(EngineLostError):
    """The engine cannot be reached, is too busy, or broke off. The next try may succeed.

    `retry_after_s` is the pause that the engine asked for, or 0.
    """

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        """Keep both."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BadAnswerError(EngineAwayError):
    """The answer is damaged or of another protocol. None of its text may be shown."""


class RequestRefusedError(EngineError):
    """The engine understood the request and refuses it; the same one will be refused again. `status` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        """Keep both."""
        super().__init__(message)
        self.status = status
