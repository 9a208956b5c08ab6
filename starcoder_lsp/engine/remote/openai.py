"""Any server with OpenAI's `/v1/completions` that takes text: NIM of older make, LM Studio, Ray Serve, gateways.

Fields: https://platform.openai.com/docs/api-reference/completions. Servers differ: what one refuses is left out from
then on (`Ask.is_plain`). `suffix` is never used: each server lays it out in its own way. Tried with llama.cpp's server
and with vLLM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from starcoder_lsp.engine.engine import Capabilities
from starcoder_lsp.engine.remote.endpoint import Endpoint
from starcoder_lsp.engine.remote.errors import BadAnswerError
from starcoder_lsp.engine.remote.http import Http
from starcoder_lsp.engine.remote.protocol import About, Ask, Part, ending, nats, only_model, raise_if_error
from starcoder_lsp.engine.remote.replies import context_of, model_rows, usage_of


@frozen
class OpenAi:
    """The adapter."""

    endpoint: Endpoint
    model: str = ""
    path: str = "/v1/completions"
    is_events: bool = True
    constrains: bool = False
    has_plain_form: bool = True

    @property
    def capabilities(self) -> Capabilities:
        """Text in, text out; log-probabilities and counts where the server has them."""
        return Capabilities(n_answers=1, beam=False, counts="finished", takes_ids=False, logprobs=False)

    async def describe(self, http: Http) -> About:
        """Ask `/v1/models`; some say how long prompt and answer may be."""
        rows = model_rows(await http.get("/v1/models"))
        name = only_model([str(row.get("id")) for row in rows], self.model, http.endpoint.host)
        return About(name, context_of(rows, name))

    async def tokenize(self, http: Http, text: str) -> Sequence[int] | None:  # noqa: ARG002  the protocol cannot
        """Return nothing: the vocabulary only counts here."""
        return None

    def body(self, ask: Ask) -> dict[str, Any]:
        """Return the request."""
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": ask.text,
            "max_tokens": ask.max_tokens,
            "temperature": ask.sampling.temperature,
            "stream": True,
        }
        if not ask.is_plain:
            body |= {
                "seed": ask.sampling.seed,
                "logprobs": 1,
                "stop": list(ask.stop_texts),
                "stream_options": {"include_usage": True},
            }
        return body

    def read(self, event: Mapping[str, Any]) -> Part:
        """Read one event."""
        raise_if_error(event)
        choices = event.get("choices")
        if not isinstance(choices, list):
            message = "the engine sent an event without choices"
            raise BadAnswerError(message)
        usage = usage_of(event.get("usage"))
        if not choices:
            return Part(ids=(), usage=usage, is_last=bool(event.get("usage")))  # a gateway may begin with an empty one
        choice = choices[0] if isinstance(choices[0], dict) else {}
        logprobs, end = choice.get("logprobs"), ending(choice.get("finish_reason"))
        text = choice.get("text", "" if end else 0)  # LiteLLM ends an answer without text, or with null
        if not isinstance(text, str | None):
            message = "the engine sent a choice without text"
            raise BadAnswerError(message)
        return Part(
            text=text or "",
            logprobs=nats(logprobs.get("token_logprobs")) if isinstance(logprobs, dict) else (),
            end=end,
            usage=usage,
        )
