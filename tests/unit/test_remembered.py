r"""Tokenizing by lines gives the ids of the whole, for any text; and the lines are remembered."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.context.remembered import RememberingTokenizer
from starcoder_lsp.engine.engine import Engine

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
def test_the_ids_are_those_of_the_whole_text(engine: Engine, text: str) -> None:
    data = text.encode()
    assert RememberingTokenizer(engine.tokenizer).encode(data) == engine.tokenizer.encode(data)


@given(st.binary(max_size=30))
def test_bytes_that_are_no_text_too(engine: Engine, data: bytes) -> None:
    assert RememberingTokenizer(engine.tokenizer).encode(data) == engine.tokenizer.encode(data)


def test_a_line_is_tokenized_once(engine: Engine) -> None:
    asked: list[bytes] = []

    class Counting:
        def encode(self, text: bytes) -> tuple[int, ...]:
            asked.append(text)
            return engine.tokenizer.encode(text)

    tokenizer = RememberingTokenizer(Counting())
    text = Path(__file__).read_bytes()
    first = tokenizer.encode(text)
    n_asked = len(asked)
    second = tokenizer.encode(text.replace(b"once", b"again", 1))
    assert len(asked) == n_asked + 1
    assert first != second
