"""A LoRA adapter, the result of fine-tuning a model, in a GGUF file of its own.

Only the header is read. llama.cpp itself refuses an adapter whose tensors do not fit the model, and returns an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from attrs import frozen

from starcoder_lsp.engine.gguf import Cursor, CutError
from starcoder_lsp.engine.model_checks import ADAPTER, DOWNLOAD_AGAIN, check_start, refuse, shown
from starcoder_lsp.engine.model_file import parse_metadata, raising_model_file_errors
from starcoder_lsp.engine.model_path import check_path
from starcoder_lsp.settings import LoraSettings

_MAX_HEADER_BYTES: Final = 16 << 20  # an adapter has no vocabulary; 1,000 tensors take 100 KB
_CHOOSE: Final = "Set starcoder.model.lora.path to an adapter in GGUF format, or leave it empty"


@frozen
class Lora:
    """A checked adapter, and the scale with which it is applied."""

    path: Path
    scale: float

    @property
    def key(self) -> tuple[object, ...]:
        """Return the values that must be equal for the cells of a model with an adapter to be of use to another one."""
        try:
            status = self.path.stat()
        except OSError:
            return str(self.path), self.scale
        return str(self.path.resolve()), status.st_size, status.st_mtime_ns, self.scale


def check_lora(settings: LoraSettings, architecture: str) -> Lora | None:
    """Check the configured adapter for a model's architecture; return `None` if there is none.

    Raises `ModelFileError`.
    """
    if not settings.path:
        return None
    path = Path(settings.path)
    with raising_model_file_errors(path):
        path = path.expanduser()
        check_path(path)
        with path.open("rb") as file:
            data = file.read(_MAX_HEADER_BYTES)
        check_start(data)
        try:
            metadata, _ = parse_metadata(Cursor(data))
        except CutError:
            refuse("is cut off or damaged: its header is longer than the file", DOWNLOAD_AGAIN)
        if metadata.get("general.type") != ADAPTER or metadata.get("adapter.type") != "lora":
            refuse("is no LoRA adapter", _CHOOSE)
        made_for = metadata.get("general.architecture")
        if made_for != architecture:
            refuse(f"was made for the architecture {shown(made_for)}, and the model is of {architecture}", _CHOOSE)
    return Lora(path, settings.scale)
