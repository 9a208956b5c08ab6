"""Replies that several servers share: OpenAI's list of models and `usage`, and `/tokenize`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.remote.errors import BadAnswerError
from starcoder_lsp.engine.remote.http import Http
from starcoder_lsp.engine.remote.protocol import number, token_ids
from starcoder_lsp.engine.stream import Usage


def model_rows(reply: Any) -> list[dict[str, Any]]:
    """Return the rows of `/v1/models`. Raises `BadAnswerError`."""
    rows = reply.get("data") if isinstance(reply, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        message = "/v1/models answered no list of models"
        raise BadAnswerError(message)
    return rows


def context_of(rows: Iterable[Mapping[str, Any]], name: str) -> int:
    """Return the context length of a model by its row of `/v1/models`; 0 if unknown.

    The row of an adapter may not say, and some servers accept any name: then the others' counts if it is the same.
    """
    lengths = [(row.get("id") == name, _n_context(row)) for row in rows]
    known = {n for is_own, n in lengths if is_own and n} or {n for _, n in lengths if n}
    return known.pop() if len(known) == 1 else 0


def _n_context(row: Mapping[str, Any]) -> int:
    """Return what a row says: vLLM's name for it, LM Studio's, or that of llama.cpp's server for a slot."""
    meta = row.get("meta")
    n_slot = number(meta.get("n_ctx")) if isinstance(meta, dict) else None
    return number(row.get("max_model_len")) or number(row.get("max_context_length")) or n_slot or 0


def usage_of(usage: object) -> Usage | None:
    """Return what OpenAI's `usage` says of the prompt; `None` without `cached_tokens`."""
    if not isinstance(usage, dict):
        return None
    details, n_prompt = usage.get("prompt_tokens_details"), number(usage.get("prompt_tokens"))
    n_cached = number(details.get("cached_tokens")) if isinstance(details, dict) else None
    if n_prompt is None or n_cached is None:
        return None
    return Usage(n_cached, max(0, n_prompt - n_cached), is_complete=True)


async def tokenized(http: Http, body: dict[str, Any]) -> tuple[int, ...] | None:
    """Return the ids of a text from `/tokenize`; `None` from a server or gateway without it."""
    try:
        reply = await http.post("/tokenize", body)
    except EngineError:
        return None
    return token_ids(reply["tokens"]) if isinstance(reply, dict) and isinstance(reply.get("tokens"), list) else None
