r"""Tokenizing line by line gives the ids of the whole text, for any text, and each line is cached."""

from __future__ import annotations

import re
import sys
from codecs import charmap_encode
from collections.abc import Sequence
from pathlib import Path

import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex
from tokenizers import Tokenizer as Bpe
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as Cuts
from tokenizers.trainers import BpeTrainer

from starcoder_lsp.context.caching_tokenizer import (
    ID_BYTES,
    LINE_BYTES,
    MAX_LINES,
    CachingTokenizer,
)
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.engine.token_bytes import _BYTES
from starcoder_lsp.engine.tokens import line_cut
from tests.unit.families import QWEN_SPLIT

ODD = [
    "\n",
    "\r\n",
    "\r",
    " ",
    "\t",
    "\v",
    "\f",
    "\x1c",
    "\x7f",
    "\0",
    "\u00a0",
    "\u2028",
    "\u3000",
    "\u0301",
    "é",
    "😀",
]
PIECES = st.sampled_from([*ODD, "\n", "\n", "a", "1", "_", "'s", "(", ";", "return", "    "])


@given(st.lists(PIECES, max_size=30).map("".join))
def test_ids_equal_those_of_the_whole_text(prompts: PromptModel, text: str) -> None:
    data = text.encode()
    assert CachingTokenizer(prompts.tokenizer).encode(data) == prompts.tokenizer.encode(data)


@given(st.binary(max_size=30) | st.lists(st.sampled_from([b"\x80", b"\n", b"a", b"\xc3"])).map(b"".join))
def test_ids_equal_those_of_the_whole_for_any_bytes(prompts: PromptModel, data: bytes) -> None:
    assert CachingTokenizer(prompts.tokenizer).encode(data) == prompts.tokenizer.encode(data)


CODE = "".join(path.read_text() for path in sorted(Path(__file__).parent.glob("test_s*.py")))
GLUING = [
    "\n",
    "\n",
    ";\n",
    ")\n\n",
    "  \n",
    "{",
    ";",
    "_",
    "a",
    "x1",
    " ",
    "    ",
    "\t",
    "\r\n",
    "\r",
    "é",
    "\u00a0",
    "->",
]


@frozen
class Trained:
    """A byte-level BPE tokenizer that is trained on this project's tests."""

    bpe: Bpe
    pieces: Sequence[bytes]
    line_cut: re.Pattern[bytes] | None

    @classmethod
    def on(cls, code: str, *cuts: object) -> Trained:
        bpe = Bpe(BPE())
        bpe.pre_tokenizer = Cuts([*cuts, ByteLevel(add_prefix_space=False, use_regex=False)])
        trainer = BpeTrainer(vocab_size=3000, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
        bpe.train_from_iterator(code.split("\n\n\n") if cuts else code.splitlines(keepends=True), trainer)
        pieces = [charmap_encode(bpe.id_to_token(i), "strict", _BYTES)[0] for i in range(bpe.get_vocab_size())]
        return cls(bpe, pieces, line_cut(pieces))

    def encode(self, text: bytes) -> tuple[int, ...]:
        return tuple(self.bpe.encode(text.decode(), add_special_tokens=False).ids)

    def piece(self, token_id: int) -> bytes:
        return self.pieces[token_id]


@pytest.fixture(scope="module")
def gluing() -> Trained:
    return Trained.on(CODE, Split(Regex(QWEN_SPLIT), behavior="isolated"))


@pytest.fixture(scope="module")
def uncut() -> Trained:
    return Trained.on(CODE)


def test_the_places_for_cuts_are_read_from_the_vocabulary(
    prompts: PromptModel, gluing: Trained, uncut: Trained
) -> None:
    def cut(tokenizer: Trained) -> list[bytes] | None:
        return tokenizer.line_cut.split(b"a\nb;\n\n1\n_\n") if tokenizer.line_cut is not None else None

    assert cut(prompts.tokenizer) == [b"a", b"\nb;", b"\n\n1", b"\n_", b"\n"]
    assert cut(gluing) == [b"a", b"\nb;\n\n1", b"\n_\n"]
    assert cut(uncut) is None


@given(st.lists(st.sampled_from(GLUING), max_size=30).map("".join) | st.text(max_size=30))
def test_ids_are_right_for_vocabularies_that_join_newlines_to_other_characters(
    gluing: Trained, uncut: Trained, text: str
) -> None:
    for tokenizer in (gluing, uncut):
        cached = CachingTokenizer(tokenizer)
        assert cached.encode(text.encode()) == tokenizer.encode(text.encode())
        assert cached.encode(text.encode()) == tokenizer.encode(text.encode()), "from the cache"


def test_cuts_for_another_vocabulary_give_other_ids(gluing: Trained, prompts: PromptModel) -> None:
    text = b"f(a)\n\ng(b)\n"
    parts = prompts.tokenizer.line_cut.split(text)
    assert tuple(token_id for part in parts for token_id in gluing.encode(part)) != gluing.encode(text)


def test_a_line_is_tokenized_once(prompts: PromptModel) -> None:
    tokenized: list[bytes] = []

    class Counting:
        line_cut = prompts.tokenizer.line_cut

        def encode(self, text: bytes) -> tuple[int, ...]:
            tokenized.append(text)
            return prompts.tokenizer.encode(text)

        def piece(self, token_id: int) -> bytes:
            return prompts.tokenizer.piece(token_id)

    tokenizer = CachingTokenizer(Counting())
    text = Path(__file__).read_bytes()
    first = tokenizer.encode(text)
    assert tokenized == [text]
    second = tokenizer.encode(text.replace(b"once", b"again", 1))
    assert len(tokenized) == 2
    assert len(tokenized[1]) < 100
    assert first != second


def test_the_cache_has_a_limited_size(prompts: PromptModel) -> None:
    tokenizer = CachingTokenizer(prompts.tokenizer)
    for start in range(0, 3 * MAX_LINES, 1000):
        lines = b"".join(b"x%d\n" % n for n in range(start, start + 1000))
        assert tokenizer.encode(lines) == prompts.tokenizer.encode(lines)
        assert len(tokenizer._known) <= MAX_LINES
        assert len(tokenizer._older) <= MAX_LINES


@settings(max_examples=20)
@given(st.lists(st.tuples(st.sampled_from([1, 40, 1000, 4000]), st.integers(1, 25)), max_size=8), st.integers(0, 999))
def test_the_cache_has_a_limit_in_bytes_however_long_the_lines(
    prompts: PromptModel, runs: list[tuple[int, int]], at: int
) -> None:
    limit, most = 50_000, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("starcoder_lsp.context.caching_tokenizer.MAX_CACHED_BYTES", limit)
        tokenizer = CachingTokenizer(prompts.tokenizer)
        for n_bytes, n_keystrokes in runs:
            for n in range(at, at + n_keystrokes):
                typed = (b"value %d, " % n * n_bytes)[:n_bytes]
                ids = tokenizer.encode(typed)
                most = max(most, LINE_BYTES + len(typed) + ID_BYTES * len(ids))
            assert ids == prompts.tokenizer.encode(typed)
            for generation in (tokenizer._known, tokenizer._older):
                assert held_bytes(generation) <= limit + most + EMPTY_BYTES


EMPTY_BYTES = 5000
"""The size of empty dictionaries, which have more places than lines."""


def held_bytes(lines: dict[bytes, tuple[int, ...]]) -> int:
    """The memory of cached lines; integers up to 256 are Python's own."""
    ids = {id(token_id): sys.getsizeof(token_id) for row in lines.values() for token_id in row if token_id > 256}
    return sum(map(sys.getsizeof, (lines, *lines, *lines.values()))) + sum(ids.values())


def test_lines_that_are_used_again_stay_in_the_cache(prompts: PromptModel) -> None:
    tokenizer, kept = CachingTokenizer(prompts.tokenizer), b"\nkept = 1"
    for start in range(0, 3 * MAX_LINES, 1000):
        tokenizer.encode(kept + b"".join(b"\nx%d" % n for n in range(start, start + 1000)))
    assert kept in tokenizer._known


@given(st.lists(PIECES, max_size=30).map("".join), st.booleans())
def test_lines_are_cut_as_by_the_pattern(prompts: PromptModel, gluing: Trained, text: str, other: bool) -> None:  # noqa: FBT001
    tokenizer = gluing if other else prompts.tokenizer
    assert CachingTokenizer(tokenizer)._lines(text.encode()) == tokenizer.line_cut.split(text.encode())


def test_lines_that_were_read_ahead_are_not_tokenized_again(
    prompts: PromptModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_piece = 400  # many pieces, some of which end beside a blank line
    monkeypatch.setattr("starcoder_lsp.context.caching_tokenizer.MAX_PIECE_BYTES", n_piece)
    tokenized: list[bytes] = []

    class Counting:
        line_cut = prompts.tokenizer.line_cut
        piece = staticmethod(prompts.tokenizer.piece)

        def encode(self, text: bytes) -> tuple[int, ...]:
            tokenized.append(text)
            return prompts.tokenizer.encode(text)

    tokenizer, text = CachingTokenizer(Counting()), Path(__file__).read_bytes()
    n_steps = sum(1 for _ in tokenizer.learn(text))
    assert len(tokenized) >= n_steps > len(text) // n_piece
    assert max(map(len, tokenized)) < n_piece + 200
    tokenized.clear()
    starts = [n for n, byte in enumerate(text) if byte == ord("\n") and text[n - 1 : n].isalnum()]
    for start in (0, *starts[:-1:5]):
        part = text[start : starts[-1]]
        assert tokenizer.encode(part) == prompts.tokenizer.encode(part)
    assert tokenized == []
