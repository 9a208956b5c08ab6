"""The part of a model that choosing a prompt needs, read from its file's header: no weights, and no llama.cpp."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from starcoder_lsp.engine.families import FAMILIES
from starcoder_lsp.engine.fim import FimFormat, format_for
from starcoder_lsp.engine.model_file import raising_model_file_errors, read_model_header
from starcoder_lsp.engine.tokenizer import GgufTokenizer, read_tokenizer


@frozen(eq=False)
class PromptModel:
    """The vocabulary, markers and sizes of a model.

    `n_context` is the most tokens of prompt and answer together, `n_parameters` the number of elements of all tensors,
    `n_bytes` the size of the file.
    """

    name: str
    architecture: str
    n_context: int
    tokenizer: GgufTokenizer
    fim: FimFormat
    n_parameters: int
    n_bytes: int


def read_prompt_model(path: Path, n_context: int) -> PromptModel:
    """Check a GGUF file and read its vocabulary. `n_context` is limited to the context of the model's training.

    Raises `EngineError`, a `ModelFileError` if the file is at fault. Takes 0.3 s of CPU time for 49,152 tokens; for a
    third of that no other thread runs.
    """
    header = read_model_header(path)
    file = header.file
    with raising_model_file_errors(file.path):
        tokenizer = read_tokenizer(header.metadata, header.data, FAMILIES[file.architecture])
    return PromptModel(
        name=file.name,
        architecture=file.architecture,
        n_context=min(n_context, file.n_context_train),
        tokenizer=tokenizer,
        fim=format_for(file.architecture, tokenizer),
        n_parameters=file.n_parameters,
        n_bytes=file.n_bytes,
    )
