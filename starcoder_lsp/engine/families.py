"""Model families, a row each: markers and layouts of prompts, and the peculiarities of model files.

The only module that knows a family's markers. Their ids are read from the vocabulary by their text, never written down
here. Sources: the StarCoder paper (arXiv:2305.06161) for the file format, the StarCoder2 paper (arXiv:2402.19173,
section 5) for the repository format, in which the path stands *after* `<fim_prefix>`.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Final

from attrs import frozen


@frozen
class ModelFamily:
    r"""A model family: its markers, the order of a prompt's parts, and what is peculiar in its files.

    `markers` are the special tokens, by role; each of them ends an answer. A layout names them as `<role>`. Its gaps
    are `{prefix}`, `{suffix}` and `{middle}` of the cursor's file, `{files}` for all other files, `{text}` for the text
    of one of them, `{repository}` and `{path}` for names. Everything else in it is text of the prompt. The middle
    comes last, since the model continues it. The most useful of the other files comes last if `is_best_file_last`.
    """

    markers: Mapping[str, str]
    infill: str = "<prefix>{prefix}<suffix>{suffix}<middle>{middle}"
    repository: str | None = None
    """The layout of a prompt with other files; `None` for a family that was not trained to infill across files."""
    file: str = ""
    """The layout of one of the other files."""
    is_best_file_last: bool = True
    split: str = ""
    """The regular expression of the pre-tokenizer, which splits a text before BPE; empty for StarCoder's split."""
    norm_epsilon: str = "layer_norm_epsilon"
    """The name of the norm's epsilon in a GGUF file of this architecture, which llama.cpp requires."""


FAMILIES: Final = {
    "starcoder2": ModelFamily(
        markers={
            "end": "<|endoftext|>",
            "prefix": "<fim_prefix>",
            "middle": "<fim_middle>",
            "suffix": "<fim_suffix>",
            "pad": "<fim_pad>",
            "repo": "<repo_name>",
            "file": "<file_sep>",
        },
        repository="<repo>{repository}{files}<file><prefix>{path}\n{prefix}<suffix>{suffix}<middle>{middle}",
        file="<file>{path}\n{text}",
    ),
    # The original StarCoder marks files otherwise (<reponame>, <filename>) and was not trained to infill across them.
    "starcoder": ModelFamily(
        markers={
            "end": "<|endoftext|>",
            "prefix": "<fim_prefix>",
            "middle": "<fim_middle>",
            "suffix": "<fim_suffix>",
            "pad": "<fim_pad>",
        }
    ),
}
"""The families, by llama.cpp's name of their architecture, which stands in a GGUF file."""


def architecture_of(tokens: Container[str]) -> str:
    """Return the architecture with the most markers in a vocabulary that does not name one."""

    def n_found(architecture: str) -> int:
        return sum(text in tokens for text in FAMILIES[architecture].markers.values())

    whole = [name for name, family in FAMILIES.items() if n_found(name) == len(family.markers)]
    return max(whole or FAMILIES, key=n_found)
