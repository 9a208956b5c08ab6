"""The protocols by `engine.kind`."""

from __future__ import annotations

from collections.abc import Callable

from starcoder_lsp.engine.remote.endpoint import Endpoint
from starcoder_lsp.engine.remote.llama_server import LlamaServer
from starcoder_lsp.engine.remote.ollama import Ollama
from starcoder_lsp.engine.remote.openai import OpenAi
from starcoder_lsp.engine.remote.protocol import Adapter
from starcoder_lsp.engine.remote.tgi import Tgi
from starcoder_lsp.engine.remote.vllm import Vllm


def adapter_for(endpoint: Endpoint, model: str, n_context: int) -> Adapter:
    """Return the adapter that asks for `model`. `n_context` is how many tokens prompt and answer may have."""
    if endpoint.kind == "ollama":
        return Ollama(endpoint, model, n_context)
    kinds: dict[str, Callable[[Endpoint, str], Adapter]] = {
        "vllm": Vllm,
        "llama-server": LlamaServer,
        "openai": OpenAi,
        "tgi": Tgi,
    }
    return kinds[endpoint.kind](endpoint, model)
