"""Text Generation Inference's `/generate_stream`, also behind Hugging Face's Inference Endpoints.

Fields: https://huggingface.github.io/text-generation-inference/. Text in, a token with its id in each event out. It is
in maintenance only; new endpoints run vLLM. Read, not run: the tests have exchanges made from that page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from starcoder_lsp.engine.engine import Capabilities, EngineError
from starcoder_lsp.engine.remote.endpoint import Endpoint
from starcoder_lsp.engine.remote.errors import BadAnswerError
from starcoder_lsp.engine.remote.http import Http
from starcoder_lsp.engine.remote.protocol import About, Ask, Part, nats, number, raise_if_error, token_ids


@frozen
class Tgi:
    """The adapter."""

    endpoint: Endpoint
    model: str = ""
    path: str = "/generate_stream"
    is_events: bool = True
    constrains: bool = False
    has_plain_form: bool = False

    @property
    def capabilities(self) -> Capabilities:
        """Text in, ids and log-probabilities out. It does not say what was cached."""
        return Capabilities(n_answers=1, beam=False, counts="none", takes_ids=False)

    async def describe(self, http: Http) -> About:
        """Ask `/info`. There is one model a server."""
        reply = await http.get("/info")
        if not isinstance(reply, dict) or not isinstance(reply.get("model_id"), str):
            message = "/info answered no model_id"
            raise BadAnswerError(message)
        return About(reply["model_id"], number(reply.get("max_total_tokens")) or 0)

    async def tokenize(self, http: Http, text: str) -> Sequence[int] | None:
        """Ask `/tokenize`, which a gateway may not have. It adds special tokens of its own for some models."""
        try:
            reply = await http.post("/tokenize", {"inputs": text})
        except EngineError:
            return None
        rows = reply if isinstance(reply, list) else []
        return token_ids([row.get("id") for row in rows if isinstance(row, dict)]) if rows else None

    def body(self, ask: Ask) -> dict[str, Any]:
        """Return the request. A temperature of 0 is refused: greedy means not to sample."""
        parameters: dict[str, Any] = {
            "max_new_tokens": ask.max_tokens,
            "stop": list(ask.stop_texts),
            "details": True,
            "return_full_text": False,
            "seed": ask.sampling.seed,
        }
        if ask.sampling.temperature > 0:
            parameters |= {"do_sample": True, "temperature": ask.sampling.temperature}
        return {"inputs": ask.text, "parameters": parameters}

    def read(self, event: Mapping[str, Any]) -> Part:
        """Read one event: one token."""
        raise_if_error(event)
        token = event.get("token")
        if not isinstance(token, dict):
            message = "the engine sent an event without a token"
            raise BadAnswerError(message)
        details = event.get("details")
        end = ""
        if isinstance(details, dict):
            end = "length" if details.get("finish_reason") == "length" else "stop"
        return Part(
            ids=token_ids([token.get("id")]),
            logprobs=nats([token.get("logprob")]),
            end=end,
            n_written=number(event.get("index")),
            is_last=bool(end),
        )
