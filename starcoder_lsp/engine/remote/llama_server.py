r"""llama.cpp's own server, `/completion`.

Fields: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md. Tried with the wheel xllamacpp:
prompts as ids, `return_tokens`, `n_probs`, healing by a grammar, and `timings_per_token`, which has the work done for
the prompt in each event. An event has one token id. If a character is cut between tokens, only the last of these has an
event, with the text of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from starcoder_lsp.engine.engine import Capabilities
from starcoder_lsp.engine.remote.endpoint import Endpoint
from starcoder_lsp.engine.remote.http import Http
from starcoder_lsp.engine.remote.protocol import About, Ask, Part, nats, number, only_model, raise_if_error, token_ids
from starcoder_lsp.engine.remote.replies import context_of, model_rows, tokenized
from starcoder_lsp.engine.stream import Usage

MIN_MEASURED_TOKENS = 64
"""Fewer tokens say little about the speed of a prompt. Not measured."""
MAX_SPEED = 1e9
"""A speed beyond it is the quotient of a time that was rounded to nothing."""


@frozen
class LlamaServer:
    """The adapter."""

    endpoint: Endpoint
    model: str = ""
    path: str = "/completion"
    is_events: bool = True
    constrains: bool = True
    has_plain_form: bool = False

    @property
    def capabilities(self) -> Capabilities:
        """All but several answers."""
        return Capabilities(n_answers=1, beam=False, takes_ids=self.endpoint.prompt_form == "ids")

    async def describe(self, http: Http) -> About:
        """Ask `/v1/models`, which has the context of a slot."""
        rows = model_rows(await http.get("/v1/models"))
        name = only_model([str(row.get("id")) for row in rows], self.model, http.endpoint.host)
        return About(name, context_of(rows, name))

    async def tokenize(self, http: Http, text: str) -> Sequence[int] | None:
        """Ask `/tokenize`."""
        return await tokenized(http, {"content": text, "add_special": False, "parse_special": True})

    def body(self, ask: Ask) -> dict[str, Any]:
        """Return the request. The last event would repeat the prompt, but for `response_fields`."""
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": list(ask.ids) if self.endpoint.prompt_form == "ids" else ask.text,
            "n_predict": ask.max_tokens,
            "temperature": ask.sampling.temperature,
            "samplers": ["temperature"],
            "seed": ask.sampling.seed,
            "stream": True,
            "cache_prompt": True,
            "return_tokens": True,
            "n_probs": 1,
            "timings_per_token": True,
            "response_fields": ["stop", "stop_type", "tokens_predicted", "timings"],
        }
        if ask.heal:
            body["grammar"] = f'root ::= "{_escaped(ask.heal)}" [\\x00-\\U0010FFFF]*'
        return body

    def read(self, event: Mapping[str, Any]) -> Part:
        """Read one event."""
        raise_if_error(event)
        timings = event.get("timings")
        timings = timings if isinstance(timings, dict) else {}
        usage = _usage(timings)
        if event.get("stop") is True:
            end = "length" if event.get("stop_type") == "limit" else "stop"
            return Part(ids=(), end=end, usage=usage, is_last=True, prefill_speed=_speed(timings))
        probabilities = event.get("completion_probabilities")
        rows = probabilities if isinstance(probabilities, list) else []
        text = event.get("content")
        return Part(
            ids=token_ids(event.get("tokens")),
            text=text if isinstance(text, str) else "",
            logprobs=nats([row.get("logprob") for row in rows if isinstance(row, dict)]),
            n_written=number(event.get("tokens_predicted")),
            usage=usage,
            prefill_speed=_speed(timings),
        )


def _escaped(text: str) -> str:
    """Spell a text for a grammar in llama.cpp's GBNF: what is not a plain letter by its code point."""
    return "".join(
        character if character.isascii() and character.isalnum() else f"\\U{ord(character):08X}" for character in text
    )


def _usage(timings: Mapping[str, Any]) -> Usage | None:
    n_reused, n_evaluated = number(timings.get("cache_n")), number(timings.get("prompt_n"))
    if n_reused is None or n_evaluated is None:
        return None
    return Usage(n_reused, n_evaluated, is_complete=True)


def _speed(timings: Mapping[str, Any]) -> float:
    n_tokens, speed = number(timings.get("prompt_n")), timings.get("prompt_per_second")
    if (n_tokens or 0) < MIN_MEASURED_TOKENS or not isinstance(speed, int | float):
        return 0.0
    return float(speed) if 0 < speed < MAX_SPEED else 0.0
