"""Parts of a remote answer become its tokens, also where the engine holds them back until a character is whole."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.remote.answer import AnswerReader
from starcoder_lsp.engine.remote.endpoint import Endpoint
from starcoder_lsp.engine.remote.errors import BadAnswerError
from starcoder_lsp.engine.remote.llama_server import LlamaServer
from starcoder_lsp.engine.vocabulary import read_vocabulary

TOKENIZER = read_vocabulary(DEMONSTRATOR)[1]
LLAMA_SERVER = LlamaServer(Endpoint("llama-server", "http://127.0.0.1", "", 1.0))
CHARACTERS = st.sampled_from("ax0 \n(é中ß😀\U0010ffff")


def events_of(ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yield the events of llama.cpp's server: none while a character is cut, then one with the last token's id."""
    decoder, text = codecs.getincrementaldecoder("utf-8")(), ""
    for n, token_id in enumerate(ids):
        text += decoder.decode(TOKENIZER.piece(token_id))
        if not decoder.getstate()[0]:
            yield {"content": text, "tokens": [token_id], "stop": False, "tokens_predicted": n + 1}
            text = ""


def text_of(events: list[dict[str, Any]], heal: bytes = b"") -> bytes:
    reader = AnswerReader(TOKENIZER, frozenset({0}), 1000, heal)
    tokens = [token for event in events for token in reader.take(LLAMA_SERVER.read(event))]
    return b"".join(TOKENIZER.piece(token.id) for token in tokens)


@given(st.text(CHARACTERS, min_size=1), st.integers(1, 4))
def test_a_character_that_is_cut_between_tokens_is_read(text: str, n_healed: int) -> None:
    data = text.encode()
    events = list(events_of(TOKENIZER.encode(data)))
    assert text_of(events) == text_of(events, text[:n_healed].encode()) == data


@pytest.mark.parametrize("n_lost", [1, 2])
def test_a_lost_event_is_an_error_whatever_its_text(n_lost: int) -> None:
    events = list(events_of(TOKENIZER.encode(b"return total(x)[0]")))
    with pytest.raises(BadAnswerError, match="lost"):
        text_of([events[0], *events[1 + n_lost :]])
