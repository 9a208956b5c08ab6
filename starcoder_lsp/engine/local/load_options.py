"""The options for loading a model into llama.cpp."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from starcoder_lsp.engine.lora import Lora


@frozen
class LoadOptions:
    """The options for loading a model. `n_cells` is the number of KV cells, which all sequences share."""

    path: Path
    n_cells: int
    n_model_bytes: int
    n_gpu_layers: int = -1
    """A negative number offloads all layers, if the build can."""
    n_threads: int = 0
    """0 means `default_n_threads`."""
    use_extra_buffers: bool = True
    """True if llama.cpp may rearrange weights for this CPU (repacking, AMX)."""
    use_flash_attention: bool = True
    n_slice: int = 0
    """Most tokens of one batch. 0 means `first_batch`."""
    lora: Lora | None = None
    cache_type: str = "f16"
    """The type of keys and values, as `cache.type` has it. Without flash attention always `f16`."""
