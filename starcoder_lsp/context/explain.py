"""The prompt at a place, its segments and the reason for each, as plain JSON for users and programs."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from starcoder_lsp.context.window import Window, segment_text
from starcoder_lsp.documents.documents import language_of
from starcoder_lsp.engine.engine import Prompt
from starcoder_lsp.engine.tokens import Tokenizer

Json = dict[str, Any]


@frozen
class PromptSegment:
    """One piece of the prompt's text. Lines count from 1, both ends included; `text` is as sent to the model."""

    kind: str
    path: str
    start_line: int
    end_line: int
    n_tokens: int
    why: str
    text: bytes


def list_segments(window: Window, tokenizer: Tokenizer, path: str) -> tuple[PromptSegment, ...]:
    """Return every piece: those of other files, then prefix, suffix and middle. `path` names the cursor's file."""
    lines, segments = window.snapshot.text, []
    for other in window.cross_file.snippets if window.cross_file is not None else ():
        n_tokens = len(other.ids)
        segments.append(
            PromptSegment("snippet", other.path, other.start_line, other.end_line, n_tokens, other.why, other.text)
        )
    for part in (window.prefix, window.suffix, window.middle):
        for segment in part.segments:
            text = segment_text(window.snapshot, segment)
            first = lines.line_of(segment.start_byte) + 1
            last = lines.line_of(max(segment.start_byte, segment.end_byte - 1)) + 1
            segments.append(
                PromptSegment(segment.kind, path, first, last, len(tokenizer.encode(text)), segment.why, text)
            )
    return tuple(segments)


def explain(window: Window, prompt: Prompt, tokenizer: Tokenizer, path: str) -> Json:
    """Return the prompt's layout, text and segments."""
    return {
        "language": language_of(window.snapshot).name,
        "format": prompt.format_name,
        "budgetTokens": window.max_tokens,
        "promptTokens": len(prompt.ids),
        "healed": prompt.heal.decode("utf-8", "replace"),
        "prompt": spelled(prompt, tokenizer),
        "segments": [
            {
                "kind": piece.kind,
                "path": piece.path,
                "startLine": piece.start_line,
                "endLine": piece.end_line,
                "tokens": piece.n_tokens,
                "why": piece.why,
            }
            for piece in list_segments(window, tokenizer, path)
        ],
    }


def spelled(prompt: Prompt, tokenizer: Tokenizer) -> str:
    """Return the prompt as text, with the healed bytes at its end and each marker by its name."""
    return b"".join((*map(tokenizer.spelling, prompt.ids), prompt.heal)).decode("utf-8", "replace")
