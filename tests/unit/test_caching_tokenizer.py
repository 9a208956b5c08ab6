r"""Tokenizing by lines gives the ids of the whole, for any text; and the lines are remembered."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.context.caching_tokenizer import N_LINES, CachingTokenizer
from starcoder_lsp.engine.prompt_model import PromptModel

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
def test_the_ids_are_those_of_the_whole_text(prompts: PromptModel, text: str) -> None:
    data = text.encode()
    assert CachingTokenizer(prompts.tokenizer).encode(data) == prompts.tokenizer.encode(data)


@given(st.binary(max_size=30) | st.lists(st.sampled_from([b"\x80", b"\n", b"a", b"\xc3"])).map(b"".join))
def test_bytes_that_are_no_text_too(prompts: PromptModel, data: bytes) -> None:
    assert CachingTokenizer(prompts.tokenizer).encode(data) == prompts.tokenizer.encode(data)


def test_a_line_is_tokenized_once(prompts: PromptModel) -> None:
    asked: list[bytes] = []

    class Counting:
        def encode(self, text: bytes) -> tuple[int, ...]:
            asked.append(text)
            return prompts.tokenizer.encode(text)

        def piece(self, token_id: int) -> bytes:
            return prompts.tokenizer.piece(token_id)

    tokenizer = CachingTokenizer(Counting())
    text = Path(__file__).read_bytes()
    first = tokenizer.encode(text)
    assert asked == [text]
    second = tokenizer.encode(text.replace(b"once", b"again", 1))
    assert len(asked) == 2
    assert len(asked[1]) < 100
    assert first != second


def test_what_is_remembered_has_an_end(prompts: PromptModel) -> None:
    tokenizer = CachingTokenizer(prompts.tokenizer)
    for start in range(0, 3 * N_LINES, 1000):
        lines = b"".join(b"x%d\n" % n for n in range(start, start + 1000))
        assert tokenizer.encode(lines) == prompts.tokenizer.encode(lines)
        assert len(tokenizer._known) <= N_LINES
