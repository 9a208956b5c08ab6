"""A snippet of another file, the room for snippets in a prompt, and the settings for them."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from starcoder_lsp.engine.tokens import Tokenizer


@frozen
class Sources:
    """The settings for snippets: the enabled kinds, and the globs of files that are never shown."""

    open_files: bool = True
    recent_edits: bool = True
    imports: bool = True
    disabled_globs: tuple[str, ...] = ()


@frozen
class Snippet:
    r"""A piece of another file: whole lines in order, without the bodies that are elided.

    `path` is relative to the workspace's root, with "/"; outside of the root it is the bare file name. `start_byte` and
    `end_byte` span the first to the last line in that file; `start_line` and `end_line` count from 1, both inclusive.
    `text` has `\n` line ends, `ids` are its token ids, and `why` is the reason, for users to read.
    """

    path: str
    start_byte: int
    end_byte: int
    start_line: int
    end_line: int
    text: bytes
    ids: tuple[int, ...]
    why: str


@frozen
class SnippetRoom:
    """The room for snippets in a prompt: `n_tokens` for all of them.

    `n_tokens_in_prompt` returns the tokens of one snippet, by its path and its token ids, its markers included.
    """

    n_tokens: int
    tokenizer: Tokenizer
    n_tokens_in_prompt: Callable[[str, tuple[int, ...]], int]
