from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from starcoder_lsp.engine.local.pieces import PieceIndex
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.engine.tokens import fit_head, fit_tail

TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from(" \n\tabcdef_0123(){}[]=:."), max_size=300)
N_LONGEST_CHARACTER_BYTES = 4
VOCABULARY_PROGRAM = """
import ctypes, json, sys
import llama_cpp
from tests.llama_tokenizer import LlamaTokenizer
params = llama_cpp.llama_model_default_params()
params.vocab_only = True
model = llama_cpp.llama_model_load_from_file(sys.argv[1].encode(), params)
tokenizer = LlamaTokenizer(model)
texts = json.load(sys.stdin)
ids = [tokenizer.encode(text.encode()) for text in texts]
back = [b"".join(map(tokenizer.piece, row)).decode("utf-8", "replace") for row in ids]
markers = ["<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<repo_name>", "<file_sep>"]
longest = max(len(tokenizer.piece(i)) for i in range(49152))
print(json.dumps({"ids": ids, "back": back, "markers": [tokenizer.marker(m) for m in markers], "longest": longest}))
"""


@settings(deadline=None)
@given(text=TEXTS)
def test_pieces_together_are_the_text(prompts: PromptModel, text: str) -> None:
    ids = prompts.tokenizer.encode(text.encode())
    assert b"".join(map(prompts.tokenizer.piece, ids)) == text.encode()


@settings(deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_can_be_tokenized(prompts: PromptModel, data: bytes) -> None:
    ids = prompts.tokenizer.encode(data)
    assert bool(ids) == bool(data)
    assert all(prompts.tokenizer.piece(token_id) for token_id in ids)


@settings(deadline=None)
@given(text=TEXTS, n_tokens=st.integers(0, 60))
@example(
    text="def first(self):\n    return self.second\n1 2 3 4 5 6 7 8 9", n_tokens=6
)  # long tokens first, then short ones
@example(text="1 2 3 4 5 6 7 8 9 def first(self):\n    return self.second\n", n_tokens=6)
def test_as_much_text_as_possible_fits(prompts: PromptModel, text: str, n_tokens: int) -> None:
    data = text.encode()
    for fit, part in ((fit_head, lambda n: data[:n]), (fit_tail, lambda n: data[len(data) - n :])):
        n_bytes = fit(prompts.tokenizer, data, n_tokens)
        assert len(prompts.tokenizer.encode(part(n_bytes))) <= n_tokens
        longer = range(n_bytes + 1, min(n_bytes + N_LONGEST_CHARACTER_BYTES, len(data)) + 1)
        assert n_bytes == len(data) or any(len(prompts.tokenizer.encode(part(n))) > n_tokens for n in longer)


PIECES = st.binary(max_size=3) | st.text("ab\xff", max_size=3).map(lambda text: text.encode("latin-1"))


@given(st.lists(PIECES, max_size=30), PIECES.filter(bool))
def test_matching_tokens_equal_those_found_by_trying_each(pieces: list[bytes], text: bytes) -> None:
    found = PieceIndex.of((piece, token_id) for token_id, piece in enumerate(pieces)).agreeing(text)
    agree = {i for i, piece in enumerate(pieces) if piece and (piece.startswith(text) or text.startswith(piece))}
    assert sorted(found.tolist()) == sorted(agree)


@pytest.mark.shared
def test_the_real_vocabulary_gives_the_published_ids(shared: Path) -> None:
    """llama.cpp's own 47 test strings for StarCoder2, through our tokenizer."""
    texts = (shared / "data/starcoder2-vocab.inp").read_text().split("\n__ggml_vocab_test__\n")
    rows = (shared / "data/starcoder2-vocab.out").read_text().split("\n")
    expected = [[int(token_id) for token_id in row.split()] for row in rows]
    # In a process of its own, since llama.cpp has one log callback a process, and a crash would end the tests.
    program = subprocess.run(  # noqa: S603  the program is above
        [sys.executable, "-c", VOCABULARY_PROGRAM, str(shared / "data/starcoder2-vocab.gguf")],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    answer = json.loads(program.stdout)
    assert len(texts) == len(expected) == 47
    assert answer["ids"] == expected
    assert answer["back"] == texts
    assert answer["markers"] == list(range(7))
    assert answer["longest"] > 32
