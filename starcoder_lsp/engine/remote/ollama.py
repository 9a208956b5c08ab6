"""Ollama's `/api/generate` with `raw`: text in, JSON lines out.

Fields: https://github.com/ollama/ollama/blob/main/docs/api.md. Its own template for StarCoder2 has a newline after
`<fim_prefix>`, so the prompt is laid out here. Read, not run: the tests have exchanges made from that page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from starcoder_lsp.engine.engine import Capabilities, EngineError
from starcoder_lsp.engine.remote.endpoint import Endpoint
from starcoder_lsp.engine.remote.errors import BadAnswerError
from starcoder_lsp.engine.remote.http import Http
from starcoder_lsp.engine.remote.protocol import About, Ask, Part, number, only_model, raise_if_error

KEEP_ALIVE = "30m"
"""The time that Ollama keeps the model loaded after a request; its default of 5 minutes is too short. Not measured."""


@frozen
class Ollama:
    """The adapter. `n_context` is what Ollama is asked to load the model with."""

    endpoint: Endpoint
    model: str = ""
    n_context: int = 0
    path: str = "/api/generate"
    is_events: bool = False
    constrains: bool = False
    has_plain_form: bool = False

    @property
    def capabilities(self) -> Capabilities:
        """Text in, text out. `prompt_eval_count` is the prompt's length, cached or not, so nothing is counted."""
        return Capabilities(n_answers=1, beam=False, counts="none", takes_ids=False, logprobs=False)

    async def describe(self, http: Http) -> About:
        """Ask `/api/tags` for the models, and `/api/show` for the context."""
        reply = await http.get("/api/tags")
        rows = reply.get("models") if isinstance(reply, dict) else None
        if not isinstance(rows, list):
            message = "/api/tags answered no list of models"
            raise BadAnswerError(message)
        names = [str(row.get("name")) for row in rows if isinstance(row, dict)]
        name = only_model(names, self.model, http.endpoint.host)
        try:
            shown = await http.post("/api/show", {"model": name})
        except EngineError:
            return About(name)
        info = shown.get("model_info") if isinstance(shown, dict) else None
        rows = info.items() if isinstance(info, dict) else ()
        lengths = [number(value) for key, value in rows if key.endswith(".context_length")]
        return About(name, lengths[0] or 0 if lengths else 0)

    async def tokenize(self, http: Http, text: str) -> Sequence[int] | None:  # noqa: ARG002  the protocol cannot
        """Return nothing: the vocabulary only counts here."""
        return None

    def body(self, ask: Ask) -> dict[str, Any]:
        """Return the request. `truncate: false` makes a prompt that is too long an error, not a cut one."""
        options: dict[str, Any] = {
            "temperature": ask.sampling.temperature,
            "seed": ask.sampling.seed,
            "num_predict": ask.max_tokens,
            "stop": list(ask.stop_texts),
        }
        if self.n_context:
            options["num_ctx"] = self.n_context
        return {
            "model": self.model,
            "prompt": ask.text,
            "raw": True,
            "stream": True,
            "keep_alive": KEEP_ALIVE,
            "truncate": False,
            "options": options,
        }

    def read(self, event: Mapping[str, Any]) -> Part:
        """Read one line."""
        raise_if_error(event)
        text = event.get("response", "")
        if not isinstance(text, str) or not isinstance(event.get("done"), bool):
            message = "the engine sent a line without response and done"
            raise BadAnswerError(message)
        if not event["done"]:
            return Part(text=text)
        return Part(text=text, end="length" if event.get("done_reason") == "length" else "stop", is_last=True)
