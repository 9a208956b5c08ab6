"""Rows of model families that are not in the package."""

from __future__ import annotations

from starcoder_lsp.engine.families import ModelFamily

QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""From `tokenizer.json` of Qwen/Qwen2.5-Coder-7B. Newlines join the punctuation before them."""
# As in the technical report of Qwen2.5-Coder (arXiv:2409.12186).
QWEN = ModelFamily(
    markers={
        "end": "<|endoftext|>",
        "prefix": "<|fim_prefix|>",
        "middle": "<|fim_middle|>",
        "suffix": "<|fim_suffix|>",
        "pad": "<|fim_pad|>",
        "repo": "<|repo_name|>",
        "file": "<|file_sep|>",
    },
    repository="<repo>{repository}\n{files}<file>{path}\n<prefix>{prefix}<suffix>{suffix}<middle>{middle}",
    file="<file>{path}\n{text}\n",
    split=QWEN_SPLIT,
    norm_epsilon="layer_norm_rms_epsilon",
)
