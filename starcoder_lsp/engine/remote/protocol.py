"""The interface of a protocol's adapter: it makes a request's body and reads the parts of its answer. Plain values.

An adapter knows fields and nothing else. Connections, healing, the stop rule and errors of the network are elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from attrs import frozen

from starcoder_lsp.engine.engine import Capabilities, EngineError, Sampling
from starcoder_lsp.engine.remote.errors import BadAnswerError
from starcoder_lsp.engine.remote.http import Http
from starcoder_lsp.engine.stream import Usage
from starcoder_lsp.printable import printable

MAX_STOP_TEXTS = 4
"""As many stop texts as OpenAI's API takes; some servers refuse more."""


@frozen
class Ask:
    """One request. `text` is the prompt for an engine that takes no ids; the answer must begin with `heal`."""

    ids: tuple[int, ...]
    text: str
    heal: str
    stop_ids: tuple[int, ...]
    stop_texts: tuple[str, ...]
    max_tokens: int
    sampling: Sampling
    ends_with_line: bool = False
    is_plain: bool = False
    """True if optional fields are left out, which some servers of the protocol refuse."""


@frozen
class Part:
    """A part of an answer: ids, or a text if the engine sends none.

    With both, the text may begin with tokens before `ids`, which the engine held back until a character was whole.
    `logprobs` are in nats, one for each token, or none. `end` is `"stop"` or `"length"` if the engine ended the answer.
    `n_written` is the engine's own count of written tokens, this part included.
    """

    ids: tuple[int, ...] | None = None
    text: str = ""
    logprobs: tuple[float, ...] = ()
    end: str = ""
    n_written: int | None = None
    usage: Usage | None = None
    is_last: bool = False
    """True if nothing follows."""
    prefill_speed: float = 0.0
    """Prompt tokens a second, if the engine says so."""


@frozen
class About:
    """An engine's description of itself. `n_context` is 0 if it does not say."""

    model: str
    n_context: int = 0


class Adapter(Protocol):
    """One protocol."""

    @property
    def path(self) -> str:
        """The path of requests, behind the engine's address."""

    @property
    def is_events(self) -> bool:
        """Return whether answers are server-sent events; otherwise JSON lines."""

    @property
    def capabilities(self) -> Capabilities:
        """The engine's capabilities."""

    @property
    def constrains(self) -> bool:
        """Return whether the engine can be forced to begin with `Ask.heal`."""

    @property
    def has_plain_form(self) -> bool:
        """Return whether `Ask.is_plain` changes the body: servers of the protocol support different fields."""

    async def describe(self, http: Http) -> About:
        """Ask for the model. Raises `EngineError`."""

    async def tokenize(self, http: Http, text: str) -> Sequence[int] | None:
        """Return the engine's ids of a text with markers, or `None` if it cannot be asked. Raises `EngineError`."""

    def body(self, ask: Ask) -> dict[str, Any]:
        """Return the JSON of a request."""

    def read(self, event: Mapping[str, Any]) -> Part:
        """Read an event. Raises `BadAnswerError` for what this protocol does not have."""


def raise_if_error(event: Mapping[str, Any]) -> None:
    """Raise `BadAnswerError` for an event that reports an error. Its text is not quoted, as it may have source text."""
    if event.get("error"):
        message = "the engine reported an error while it answered"
        raise BadAnswerError(message)


def number(value: object) -> int | None:
    """Return a count, or `None` for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def ending(reason: object) -> str:
    """Return `Part.end` for OpenAI's `finish_reason`. Raises `BadAnswerError` for vLLM's `abort`: it shuts down."""
    if reason == "abort":
        message = "the engine broke off in the middle of an answer"
        raise BadAnswerError(message)
    return "length" if reason == "length" else "stop" if reason else ""


def nats(values: object) -> tuple[float, ...]:
    """Return log-probabilities; nothing unless each is a finite number."""
    if not isinstance(values, list) or not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
        return ()
    return tuple(min(float(v), 0.0) for v in values)


def token_ids(values: object) -> tuple[int, ...]:
    """Return token ids. Raises `BadAnswerError` for anything else."""
    if not isinstance(values, list) or not all(number(v) is not None for v in values):
        message = 'the engine gives no token ids; a version that does is needed, or engine.kind = "openai"'
        raise BadAnswerError(message)
    return tuple(values)


def only_model(models: Sequence[str], wanted: str, host: str) -> str:
    """Return the model to request. Raises `EngineError`, which names the server's models."""
    if wanted:
        return wanted
    if len(models) == 1:
        return models[0]
    named = printable(", ".join(models[:10])) or "none"
    message = f"{host} has {len(models)} models ({named}): set engine.model to one of them"
    raise EngineError(message)
