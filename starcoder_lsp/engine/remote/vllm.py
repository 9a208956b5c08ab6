r"""vLLM's `/v1/completions`, also in NIM, Ray Serve LLM, production-stack and Dynamo.

Fields: https://docs.vllm.ai/en/stable/serving/openai_compatible_server/. Tried with 0.32: prompts as ids,
`return_token_ids`, `structured_outputs.regex` for healing, `stop` and `min_tokens`. What was cached comes with the last
event only, and not at all without `--enable-prompt-tokens-details`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from starcoder_lsp.engine.engine import Capabilities
from starcoder_lsp.engine.remote.endpoint import Endpoint
from starcoder_lsp.engine.remote.errors import BadAnswerError
from starcoder_lsp.engine.remote.http import Http
from starcoder_lsp.engine.remote.protocol import (
    About,
    Ask,
    Part,
    ending,
    nats,
    number,
    only_model,
    raise_if_error,
    token_ids,
)
from starcoder_lsp.engine.remote.replies import context_of, model_rows, tokenized, usage_of


@frozen
class Vllm:
    """The adapter. `model` is the name that requests carry."""

    endpoint: Endpoint
    model: str = ""
    path: str = "/v1/completions"
    is_events: bool = True
    constrains: bool = True
    has_plain_form: bool = False

    @property
    def capabilities(self) -> Capabilities:
        """All but several answers; counts come with requests that vLLM ended itself."""
        return Capabilities(n_answers=1, beam=False, counts="finished", takes_ids=self.endpoint.prompt_form == "ids")

    async def describe(self, http: Http) -> About:
        """Ask `/v1/models`, which says how long prompt and answer may be."""
        rows = model_rows(await http.get("/v1/models"))
        name = only_model([str(row.get("id")) for row in rows], self.model, http.endpoint.host)
        return About(name, context_of(rows, name))

    async def tokenize(self, http: Http, text: str) -> Sequence[int] | None:
        """Ask `/tokenize`, which a gateway may not have."""
        return await tokenized(http, {"model": self.model, "prompt": text, "add_special_tokens": False})

    def body(self, ask: Ask) -> dict[str, Any]:
        """Return the request. Ends at a line where nothing behind it is wanted, so that the counts come."""
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": list(ask.ids) if self.endpoint.prompt_form == "ids" else ask.text,
            "add_special_tokens": False,
            "max_tokens": ask.max_tokens,
            "temperature": ask.sampling.temperature,
            "seed": ask.sampling.seed,
            "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
            "return_token_ids": True,
            "logprobs": 0,
            "stop_token_ids": list(ask.stop_ids),
        }
        if ask.heal:
            body["structured_outputs"] = {"regex": f"{re.escape(ask.heal)}[\\s\\S]*"}
        if ask.ends_with_line and "\n" not in ask.heal[1:]:
            body |= {"stop": ["\n"], "include_stop_str_in_output": True}
            if ask.heal.startswith("\n"):
                body["min_tokens"] = 1  # stop texts are looked for behind so many tokens
        if self.endpoint.cache_salt:
            body["cache_salt"] = self.endpoint.cache_salt
        return body

    def read(self, event: Mapping[str, Any]) -> Part:
        """Read one event."""
        raise_if_error(event)
        usage = event.get("usage") if isinstance(event.get("usage"), dict) else None
        choices = event.get("choices")
        if not isinstance(choices, list):
            message = "the engine sent an event without choices"
            raise BadAnswerError(message)
        if not choices:
            return Part(ids=(), usage=usage_of(usage), is_last=bool(usage))
        choice = choices[0] if isinstance(choices[0], dict) else {}
        logprobs = choice.get("logprobs")
        return Part(
            ids=token_ids(choice.get("token_ids")),
            logprobs=nats(logprobs.get("token_logprobs")) if isinstance(logprobs, dict) else (),
            end=ending(choice.get("finish_reason")),
            n_written=number(usage.get("completion_tokens")) if usage else None,
        )
