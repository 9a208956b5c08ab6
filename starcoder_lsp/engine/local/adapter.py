"""LoRA adapters through llama.cpp's low-level API."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.local.low_level import llama_cpp


def load_adapter(model: Any, path: Path, last_error: Callable[[], str]) -> Any:
    """Return a pointer to the adapter, which lives as long as the model. Raises `EngineError`."""
    adapter = llama_cpp.llama_adapter_lora_init(model, os.fsencode(path))
    if not adapter:
        why = last_error() or "no reason given"
        message = f"{path}: llama.cpp could not load the adapter ({why}); does it fit the model?"
        raise EngineError(message)
    return adapter


def apply_adapter(context: Any, adapter: Any, scale: float) -> None:
    """Apply an adapter to every evaluation in a context. Raises `EngineError`."""
    adapters = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(adapter)
    code = llama_cpp.llama_set_adapters_lora(context, adapters, 1, (ctypes.c_float * 1)(scale))
    if code:
        message = f"llama.cpp could not apply the LoRA adapter (code {code})"
        raise EngineError(message)
