"""A prompt as text, for engines that take no token ids.

Such an engine reads the spelling of a marker as that marker, wherever it occurs. In the text of files the spelling is
split by a space, so that a file cannot end its own prefix.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import groupby

from starcoder_lsp.engine.tokenizer import GgufTokenizer


def prompt_text(ids: Iterable[int], tokenizer: GgufTokenizer) -> str:
    """Return token ids as the text that an engine reads as the same prompt, but for markers in the text of files."""
    parts = []
    for is_marker, run in groupby(ids, key=lambda token_id: not tokenizer.piece(token_id)):
        if is_marker:
            parts += [tokenizer.spelling(token_id).decode() for token_id in run]
        else:
            text = b"".join(map(tokenizer.piece, run)).decode("utf-8", "replace")
            parts.append(without_markers(text, [name.decode("utf-8", "replace") for name in tokenizer.marker_names]))
    return "".join(parts)


def without_markers(text: str, names: Collection[str]) -> str:
    """Split each marker that is spelled in a text, behind its first character. The longest ones first."""
    for name in sorted(names, key=len, reverse=True):
        if len(name) > 1 and name in text:
            text = text.replace(name, f"{name[0]} {name[1:]}")
    return text
