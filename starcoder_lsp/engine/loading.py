"""From settings to a loaded model, or to one plain line about why there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from starcoder_lsp.engine.engine import Engine, EngineError, ModelInfo
from starcoder_lsp.engine.state_files import DiskSpace
from starcoder_lsp.engine.tokens import Tokenizer
from starcoder_lsp.settings import Settings

MIB = 1024 * 1024
DEMONSTRATOR = Path(__file__).parent.parent / "demonstrator" / "starcoder-lsp-demonstrator.gguf"


def model_path(settings: Settings) -> Path:
    """The model file to load: the configured one, or the demonstrator that comes with the package."""
    return Path(settings.model.path) if settings.model.path else DEMONSTRATOR


def load_engine(settings: Settings, on_progress: Callable[[float], None]) -> Engine:
    """Load the configured model. Raises `EngineError`, whose text is one line for a person."""
    disk = None
    if settings.cache.disk_mib:
        import platformdirs

        folder = platformdirs.user_cache_path("starcoder-lsp", appauthor=False) / "states"
        disk = DiskSpace(folder, settings.cache.disk_mib * MIB)
    engine: Engine = _llama().load(
        model_path(settings),
        n_context=settings.model.context_length,
        n_gpu_layers=settings.model.gpu_layers,
        n_threads=settings.model.threads,
        n_parked_bytes=settings.cache.ram_mib * MIB,
        disk=disk,
        on_progress=on_progress,
    )
    return engine


def load_vocabulary(settings: Settings) -> tuple[ModelInfo, Tokenizer]:
    """What choosing a prompt needs of the configured model, in milliseconds. Raises `EngineError` as `load_engine`."""
    info, tokenizer = _llama().load_vocabulary(model_path(settings), settings.model.context_length)
    return info, tokenizer


def _llama() -> ModuleType:
    try:
        from starcoder_lsp.engine import llama
    except (ImportError, OSError, RuntimeError) as error:
        message = f"llama-cpp-python cannot be loaded ({error}); install it again"
        raise EngineError(message) from error
    return llama
