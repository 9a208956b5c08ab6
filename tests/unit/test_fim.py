"""Exact token ids of each prompt format, and markers that are read from the vocabulary."""

from __future__ import annotations

import pytest
from attrs import frozen

from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.fim import FimFormat, RepositoryFile, format_for
from starcoder_lsp.engine.prompt_model import PromptModel

FIM = FimFormat("starcoder2", prefix=1, middle=2, suffix=3, stop_ids=frozenset(range(7)), repo=5, file=6)


@frozen
class Vocabulary:
    markers: dict[str, int]

    def encode(self, text: bytes) -> tuple[int, ...]:
        return tuple(text)

    def piece(self, token_id: int) -> bytes:
        return bytes([token_id])

    def marker(self, text: str) -> int | None:
        return self.markers.get(text)

    def spelling(self, token_id: int) -> bytes:
        return self.piece(token_id)


def test_psm() -> None:
    assert FIM.psm((10, 11), (20,)).ids == (1, 10, 11, 3, 20, 2)
    assert FIM.psm((), ()).ids == (1, 3, 2)


def test_psm_with_a_known_part_of_the_middle() -> None:
    assert FIM.psm((10,), (20,), (30, 31)).ids == (1, 10, 3, 20, 2, 30, 31)


def test_spm_is_the_variant_of_the_training() -> None:
    assert FIM.spm((10, 11), (20,)).ids == (1, 3, 20, 2, 10, 11)


def test_repository_has_the_path_behind_the_prefix_marker() -> None:
    files = [RepositoryFile((40,), (41, 42)), RepositoryFile((50,), (51,))]
    prompt = FIM.repository((30,), files, (60,), (10,), (20,))
    assert prompt.ids == (5, 30, 6, 40, 41, 42, 6, 50, 51, 6, 1, 60, 10, 3, 20, 2)
    assert prompt.format_name == "starcoder2/repository"


def test_ids_come_from_the_vocabulary() -> None:
    shuffled = Vocabulary(
        {
            "<fim_prefix>": 90,
            "<fim_middle>": 70,
            "<fim_suffix>": 80,
            "<|endoftext|>": 60,
            "<repo_name>": 5,
            "<file_sep>": 4,
        }
    )
    fim = format_for("starcoder2", shuffled)
    assert fim.psm((1,), (2,)).ids == (90, 1, 80, 2, 70)
    assert fim.stop_ids == {90, 70, 80, 60, 5, 4}
    assert fim.has_repository


def test_the_original_starcoder_has_no_repository_format() -> None:
    names = ("<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<|endoftext|>", "<fim_pad>")
    fim = format_for("starcoder", Vocabulary({name: i for i, name in enumerate(names)}))
    assert not fim.has_repository
    with pytest.raises(ValueError, match="no repository format"):
        fim.repository((), (), (), (), ())


def test_a_model_without_markers_is_refused_in_plain_words() -> None:
    with pytest.raises(EngineError, match="use a model that can infill"):
        format_for("starcoder2", Vocabulary({}))
    with pytest.raises(EngineError, match="'llama'"):
        format_for("llama", Vocabulary({}))


def test_markers_of_the_demonstrator(prompts: PromptModel) -> None:
    fim = format_for(prompts.architecture, prompts.tokenizer)
    assert (fim.prefix, fim.middle, fim.suffix, fim.repo, fim.file) == (1, 2, 3, 5, 6)
    assert fim.stop_ids == frozenset(range(7))


@pytest.mark.parametrize("text", ["<fim_middle>", "<|endoftext|>", "a <file_sep> b", "<repo_name>"])
def test_a_marker_in_a_file_is_plain_text(prompts: PromptModel, text: str) -> None:
    ids = prompts.tokenizer.encode(text.encode())
    assert not prompts.fim.stop_ids & set(ids)
    assert b"".join(map(prompts.tokenizer.piece, ids)) == text.encode()
