"""llama.cpp's own tokenizer, the reference for ours. It needs only a vocabulary."""

from __future__ import annotations

import ctypes
from typing import Any

import llama_cpp

MAX_PIECE_BYTES = 4096


class LlamaTokenizer:
    """The vocabulary of a loaded model."""

    def __init__(self, model: Any) -> None:
        self._vocab = llama_cpp.llama_model_get_vocab(model)
        self._pieces: dict[int, bytes] = {}
        self._room = (llama_cpp.llama_token * 1024)()

    def encode(self, text: bytes) -> tuple[int, ...]:
        """Return the token ids of `text`; a marker spelled in it is plain text."""
        return self._tokenize(text, parse_special=False)

    def piece(self, token_id: int) -> bytes:
        """Return the bytes that `token_id` stands for; empty for a marker."""
        piece = self._pieces.get(token_id)
        if piece is None:
            buffer = ctypes.create_string_buffer(MAX_PIECE_BYTES)
            n_bytes = llama_cpp.llama_token_to_piece(self._vocab, token_id, buffer, len(buffer), 0, False)
            piece = self._pieces[token_id] = buffer.raw[: max(0, n_bytes)]
        return piece

    def marker(self, text: str) -> int | None:
        """Return the id of the special token spelled `text`, or `None`."""
        ids = self._tokenize(text.encode(), parse_special=True)
        if len(ids) != 1 or llama_cpp.llama_vocab_get_text(self._vocab, ids[0]) != text.encode():
            return None
        return ids[0]

    def spelling(self, token_id: int) -> bytes:
        """Return a token's bytes, or a marker's name."""
        return self.piece(token_id) or bytes(llama_cpp.llama_vocab_get_text(self._vocab, token_id))

    def _tokenize(self, text: bytes, *, parse_special: bool) -> tuple[int, ...]:
        if not text:
            return ()
        n = -len(text)  # invalid UTF-8 may have more tokens than bytes; then the result is the negated number of tokens
        while n < 0:
            if -n > len(self._room):
                self._room = (llama_cpp.llama_token * -(2 * n))()
            n = llama_cpp.llama_tokenize(
                self._vocab, text, len(text), self._room, len(self._room), False, parse_special
            )
        return tuple(self._room[:n])
