"""Exact token ids of each prompt layout, and markers read from the vocabulary."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import frozen

from starcoder_lsp.context.explain import spelled
from starcoder_lsp.documents.documents import Documents
from starcoder_lsp.documents.workspace import WorkspaceContext
from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.families import ModelFamily
from starcoder_lsp.engine.fim import OtherFile, format_for, make_format
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.prompting import CompletionRequest, PromptBuilder, build_prompt, choose_window
from starcoder_lsp.settings import ContextSettings, Settings
from tests.unit.families import QWEN


@frozen
class Vocabulary:
    markers: dict[str, int]

    def encode(self, text: bytes) -> tuple[int, ...]:
        return tuple(text)

    def piece(self, token_id: int) -> bytes:
        return bytes([token_id]) if token_id < 256 else b""

    def marker(self, text: str) -> int | None:
        return self.markers.get(text)

    def spelling(self, token_id: int) -> bytes:
        names = {marker_id: name for name, marker_id in self.markers.items()}
        return self.piece(token_id) or names[token_id].encode()


STARCODER2 = Vocabulary(
    {
        "<|endoftext|>": 1000,
        "<fim_prefix>": 1001,
        "<fim_middle>": 1002,
        "<fim_suffix>": 1003,
        "<fim_pad>": 1004,
        "<repo_name>": 1005,
        "<file_sep>": 1006,
    }
)

FIM = format_for("starcoder2", STARCODER2)


def test_psm() -> None:
    assert FIM.infill((10, 11), (20,)).ids == (1001, 10, 11, 1003, 20, 1002)
    assert FIM.infill((), ()).ids == (1001, 1003, 1002)
    assert FIM.infill((), ()).format_name == "starcoder2/psm"
    assert FIM.frame.n_tokens == 3


def test_psm_with_a_known_part_of_the_middle() -> None:
    prompt = FIM.infill((10,), (20,), (30, 31), b"hea")
    assert prompt.ids == (1001, 10, 1003, 20, 1002, 30, 31)
    assert prompt.heal == b"hea"


def test_in_repository_prompts_the_path_follows_the_prefix_marker() -> None:
    files = [OtherFile("a", (41, 42)), OtherFile("b", (51,))]
    frame = FIM.repository_frame(STARCODER2.encode, "r", "c", files)
    prompt = FIM.infill((10,), (20,), frame=frame)
    repository, a, b, c = b"r", b"a\n", b"b\n", b"c\n"
    assert prompt.ids == (1005, *repository, 1006, *a, 41, 42, 1006, *b, 51, 1006, 1001, *c, 10, 1003, 20, 1002)
    assert prompt.format_name == "starcoder2/repository"
    assert frame.n_tokens == len(prompt.ids) - 2
    assert FIM.n_file_tokens(STARCODER2.encode, files[0]) == 5


def test_file_names_stand_in_a_prompt_unchanged() -> None:
    """Braces, signs and bytes that are no UTF-8 have no special meaning in a path."""
    frame = FIM.repository_frame(STARCODER2.encode, "{path}<fim_middle>", "{a}\udcff<file>", [OtherFile("{0}", ())])
    text = bytes(
        token_id for piece in frame.pieces for token_id in piece if isinstance(token_id, int) and token_id < 256
    )
    assert text == b"{path}<fim_middle>{0}\n{a}\xed\xb3\xbf<file>\n"


def test_the_most_useful_file_comes_last() -> None:
    assert FIM.in_order(iter("best")) == ("t", "s", "e", "b")


WITHOUT_FILES = Settings(context=ContextSettings(max_snippet_tokens=0))
# An invented family, as a row of `FAMILIES`: other markers, another order, the path at another place, and other
# separators. No other code knows it.
OTHER_FAMILY = ModelFamily(
    markers={
        "end": "[END]",
        "prefix": "[PRE]",
        "middle": "[MID]",
        "suffix": "[SUF]",
        "repo": "[REPO]",
        "file": "[FILE]",
    },
    infill="<suffix>{suffix}<prefix>{prefix}<middle>{middle}",
    repository="<repo>{repository}\n<file>{path}\n<suffix>{suffix}{files}<prefix>{prefix}<middle>{middle}",
    file="<file>{path}\n{text}\n",
    is_best_file_last=False,
)


@pytest.mark.parametrize(
    ("family", "alone", "with_files"),
    [
        (
            OTHER_FAMILY,
            "[SUF])[PRE]from a import second\nfrom b import first\n[MID]first(",
            (
                "[REPO]project\n[FILE]main.py\n[SUF])"
                "[FILE]b.py\ndef first(): ...\n\n[FILE]a.py\ndef second(): ...\n\n"
                "[PRE]from a import second\nfrom b import first\n[MID]first("
            ),
        ),
        (
            QWEN,
            "<|fim_prefix|>from a import second\nfrom b import first\n<|fim_suffix|>)<|fim_middle|>first(",
            (
                "<|repo_name|>project\n"
                "<|file_sep|>a.py\ndef second(): ...\n\n<|file_sep|>b.py\ndef first(): ...\n\n"
                "<|file_sep|>main.py\n"
                "<|fim_prefix|>from a import second\nfrom b import first\n<|fim_suffix|>)<|fim_middle|>first("
            ),
        ),
    ],
    ids=["made up", "Qwen2.5-Coder"],
)
def test_a_row_is_enough_for_another_family(tmp_path: Path, family: ModelFamily, alone: str, with_files: str) -> None:
    vocabulary = Vocabulary({text: 1000 + i for i, text in enumerate(family.markers.values())})
    fim = make_format("another", family, vocabulary)
    prompts = PromptModel("a model", "another", 4096, vocabulary, fim, n_parameters=0, n_bytes=0)
    model = PromptBuilder(prompts, vocabulary)
    root = tmp_path / "project"
    root.mkdir()
    (root / "a.py").write_text("def second(): ...\n")
    (root / "b.py").write_text("def first(): ...\n")
    text = "from a import second\nfrom b import first\nfirst()"
    asking = Documents().open((root / "main.py").as_uri(), "python", 1, text)
    request = CompletionRequest(asking, len(text) - 1, model, Settings(), WorkspaceContext(root))
    prompt = build_prompt(choose_window(request), model)
    assert spelled(prompt, vocabulary) == with_files
    assert prompt.format_name == "another/repository"
    assert prompt.stop_ids == frozenset(vocabulary.markers.values())

    without = CompletionRequest(asking, len(text) - 1, PromptBuilder(prompts, vocabulary), WITHOUT_FILES)
    assert spelled(build_prompt(choose_window(without), model), vocabulary) == alone


def test_marker_ids_are_read_from_the_vocabulary() -> None:
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
    assert fim.infill((1,), (2,)).ids == (90, 1, 80, 2, 70)
    assert fim.stop_ids == {90, 70, 80, 60, 5, 4}
    assert fim.has_repository


def test_the_original_starcoder_has_no_repository_format() -> None:
    names = ("<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<|endoftext|>", "<fim_pad>")
    fim = format_for("starcoder", Vocabulary({name: i for i, name in enumerate(names)}))
    assert not fim.has_repository
    with pytest.raises(ValueError, match="no repository format"):
        fim.repository_frame(bytes, "", "")


def test_a_model_without_markers_is_refused_with_a_clear_message() -> None:
    with pytest.raises(EngineError, match="use a model that can infill"):
        format_for("starcoder2", Vocabulary({}))
    with pytest.raises(EngineError, match="'llama'"):
        format_for("llama", Vocabulary({}))


def test_markers_of_the_demonstrator(prompts: PromptModel) -> None:
    fim = format_for(prompts.architecture, prompts.tokenizer)
    assert (fim.prefix, fim.middle, fim.suffix) == (1, 2, 3)
    assert (fim.markers["repo"], fim.markers["file"]) == (5, 6)
    assert fim.stop_ids == frozenset(range(7))


@pytest.mark.parametrize("text", ["<fim_middle>", "<|endoftext|>", "a <file_sep> b", "<repo_name>"])
def test_a_marker_in_a_file_is_plain_text(prompts: PromptModel, text: str) -> None:
    ids = prompts.tokenizer.encode(text.encode())
    assert not prompts.fim.stop_ids & set(ids)
    assert b"".join(map(prompts.tokenizer.piece, ids)) == text.encode()
