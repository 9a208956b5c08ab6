"""Prompts as text: markers in a file are split, so that the engine reads the same prompt as with token ids."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.engine.fim import format_for
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.engine.remote.prompt_text import prompt_text, without_markers
from starcoder_lsp.engine.vocabulary import VocabularyError, read_vocabulary

TOKENIZER = read_vocabulary(DEMONSTRATOR)[1]
NAMES = [name.decode() for name in TOKENIZER.marker_names]
TEXTS = st.lists(st.text(max_size=8) | st.sampled_from([*NAMES, "<", "fim_", ">", "<fim_", "prefix>"]), max_size=8)


@given(TEXTS.map("".join), TEXTS.map("".join), TEXTS.map("".join))
def test_a_prompt_as_text_has_exactly_three_markers_whatever_the_texts(before: str, behind: str, middle: str) -> None:
    fim = format_for("starcoder2", TOKENIZER)
    ids = [TOKENIZER.encode(text.encode()) for text in (before, behind, middle)]
    text = prompt_text(fim.infill(*ids).ids, TOKENIZER)
    found = sorted((at, name) for name in NAMES for at in range(len(text)) if text.startswith(name, at))
    assert [name for _, name in found] == ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"]
    if not any(name in whole for name in NAMES for whole in (before, behind, middle)):
        assert text == f"<fim_prefix>{before}<fim_suffix>{behind}<fim_middle>{middle}"


@given(st.lists(st.sampled_from([*NAMES, "<", ">", "|", "fim_prefix"]), max_size=8).map("".join))
def test_markers_in_a_text_are_split(text: str) -> None:
    assert not any(name in without_markers(text, NAMES) for name in NAMES)


def test_a_tokenizer_json_gives_the_vocabulary_of_the_model_file(tmp_path: Path, prompts: PromptModel) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(tokenizer_file()))
    architecture, read = read_vocabulary(path)
    assert list(read.pieces) == list(prompts.tokenizer.pieces)
    assert architecture == "starcoder2"
    source = Path(__file__).read_bytes()
    assert read.encode(source) == prompts.tokenizer.encode(source)


def tokenizer_file() -> dict[str, object]:
    """Return the demonstrator's vocabulary as `tokenizer.json`, written by the library `tokenizers`."""
    content = json.loads(TOKENIZER._bpe.to_str())
    special = {name.decode(): TOKENIZER.marker(name.decode()) for name in TOKENIZER.marker_names}
    content["added_tokens"] = [{"id": token_id, "content": name, "special": True} for name, token_id in special.items()]
    return content


def damaged(change):
    content = tokenizer_file()
    change(content)
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "neither a GGUF file nor"),
        (b"GGUF", "cut off"),
        (b"[]", "no model.vocab"),
        (b"{}", "no model.vocab"),
        (
            b'{"model": {"vocab": {}, "merges": []}, "added_tokens": [{"id": 0, "content": ["a"]}]}',
            "neither a GGUF file",
        ),
        (b'{"model": {"vocab": {"a": 0}, "merges": [["a", null]]}}', "neither a GGUF file"),
        (b'{"model": {"vocab": [], "merges": []}}', "no model.vocab"),
        (b'{"model": {"vocab": {"a": 0, "b": 0}, "merges": []}}', "not distinct"),
        (b'{"model": {"vocab": {"a": -1}, "merges": []}}', "not distinct"),
        (b'{"model": {"vocab": {"a": 99}, "merges": []}}', "ids up to 99"),
        (b'{"model": {"vocab": {"a": 0}, "merges": []}}', "no token for '?'"),
        (damaged(lambda content: content["model"]["merges"].append("qqqq zzzz")), "no pair of tokens"),
        (DEMONSTRATOR.read_bytes()[:50_000], "cut off"),
    ],
    ids=range(13),
)
def test_a_file_without_a_usable_vocabulary_is_an_error_with_advice(data: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(data)
    with pytest.raises(VocabularyError) as raised:
        read_vocabulary(path)
    assert what in str(raised.value)
    assert "engine.vocabulary" in str(raised.value)


def test_a_missing_vocabulary_is_an_error() -> None:
    with pytest.raises(VocabularyError, match="is not there"):
        read_vocabulary(Path("/nowhere/tokenizer.json"))


def test_a_gguf_file_with_a_vocabulary_alone_is_accepted(shared: Path) -> None:
    architecture, tokenizer = read_vocabulary(shared / "data" / "starcoder2-vocab.gguf")
    assert len(tokenizer.pieces) == 49_152
    assert architecture in {"starcoder", "starcoder2"}
