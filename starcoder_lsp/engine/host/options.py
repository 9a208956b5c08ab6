"""A host's options: the model and how to run it, and the name that identifies hosts with equal options."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import msgspec
from attrs import frozen

from starcoder_lsp import __version__
from starcoder_lsp.engine.lora import Lora, check_lora
from starcoder_lsp.engine.model_file import ModelFile, ModelFileError
from starcoder_lsp.settings import Settings

MIB = 1024 * 1024
BLOCK_SIZES = {"f16": 1, "q8_0": 32}
"""The numbers that share a scale, by `cache.type` (ggml-common.h); a head must have a multiple of that."""

KV_SHARES = {"f16": 1.0, "q8_0": 34 / 64}
"""The memory of keys and values, by `cache.type`, as a share of that in 16 bits: 32 numbers have a scale of 2 bytes."""


@frozen
class HostOptions:
    """The options of a host. `idle_s` is the time that it stays after its last client."""

    path: str
    n_context: int
    n_gpu_layers: int
    n_threads: int
    n_parked_bytes: int
    n_disk_bytes: int
    is_shared: bool
    transport: str
    idle_s: float
    caution: int = 0
    use_extra_buffers: bool = True
    use_flash_attention: bool = True
    lora_path: str = ""
    lora_scale: float = 1.0
    cache_type: str = "f16"
    reuses_moved: bool = False

    @classmethod
    def of(cls, settings: Settings, model: ModelFile) -> HostOptions:
        """Return the options for these settings and a checked model file.

        Raises `ModelFileError` for a bad adapter, or for a model whose keys cannot be of the type `cache.type`.
        """
        if model.n_head_embd % BLOCK_SIZES[settings.cache.type]:
            reason = f"{model.path} has heads of {model.n_head_embd} numbers, which cannot be stored as q8_0"
            raise ModelFileError(reason, "set cache.type to f16")
        lora = check_lora(settings.model.lora, model.architecture)
        return cls(
            path=str(model.path.resolve()),
            n_context=min(settings.model.context_length, model.n_context_train),
            n_gpu_layers=settings.model.gpu_layers,
            n_threads=settings.model.threads,
            n_parked_bytes=settings.cache.ram_mib * MIB,
            n_disk_bytes=settings.cache.disk_mib * MIB,
            is_shared=settings.host.shared,
            transport=settings.host.transport,
            idle_s=settings.host.idle_minutes * 60,
            cache_type=settings.cache.type,
            reuses_moved=settings.cache.reuse_moved,
            lora_path="" if lora is None else str(lora.path.resolve()),
            lora_scale=1.0 if lora is None else lora.scale,
        )

    @property
    def lora(self) -> Lora | None:
        """The adapter, if there is one."""
        return Lora(Path(self.lora_path), self.lora_scale) if self.lora_path else None

    @property
    def key(self) -> str:
        """The name of every host with the same program, model file and settings."""
        try:
            stat = Path(self.path).stat()
            file = (stat.st_size, stat.st_mtime_ns)
        except OSError:
            file = (0, 0)
        adapter = () if self.lora is None else self.lora.key
        sizes = (self.n_parked_bytes, self.n_disk_bytes)
        cache = (self.cache_type, self.reuses_moved)
        settings = (self.n_context, self.n_gpu_layers, self.n_threads, *cache, *sizes, *adapter)
        program = (__version__, str(Path(__file__).parent), os.environ.get("LLAMA_CPP_LIB_PATH", ""))
        return sha256(repr((program, self.path, file, settings)).encode()).hexdigest()[:16]

    def to_json(self) -> bytes:
        """Encode the options for the host's command line."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, data: bytes) -> HostOptions:
        """Read what `to_json` wrote. Raises `msgspec.DecodeError`."""
        return msgspec.json.decode(data, type=cls)
