"""What the model sees at a place and why, as plain values for a person or a program to read."""

from __future__ import annotations

from typing import Any

from starcoder_lsp.context.window import Part, Window, segment_text
from starcoder_lsp.documents.documents import language_of
from starcoder_lsp.engine.engine import Prompt
from starcoder_lsp.engine.tokens import Tokenizer

Json = dict[str, Any]


def explain(window: Window, prompt: Prompt, tokenizer: Tokenizer, path: str) -> Json:
    """The prompt's layout, text and segments. Lines are counted from 1, both ends included."""
    return {
        "language": language_of(window.snapshot).name,
        "format": prompt.format_name,
        "budgetTokens": window.budget.n_tokens,
        "promptTokens": len(prompt.ids),
        "healed": prompt.heal.decode("utf-8", "replace"),
        "prompt": spelled(prompt, tokenizer),
        "segments": [
            described
            for part in (window.prefix, window.suffix, window.middle)
            for described in _segments(window, part, tokenizer, path)
        ],
    }


def spelled(prompt: Prompt, tokenizer: Tokenizer) -> str:
    """The prompt as text, what is healed included; its markers appear by name."""
    return b"".join((*map(tokenizer.spelling, prompt.ids), prompt.heal)).decode("utf-8", "replace")


def _segments(window: Window, part: Part, tokenizer: Tokenizer, path: str) -> list[Json]:
    text = window.snapshot.text
    return [
        {
            "kind": segment.kind,
            "path": path,
            "startLine": text.line_of(segment.start_byte) + 1,
            "endLine": text.line_of(max(segment.start_byte, segment.end_byte - 1)) + 1,
            "tokens": len(tokenizer.encode(segment_text(window.snapshot, segment))),
            "why": segment.why,
        }
        for segment in part.segments
    ]
