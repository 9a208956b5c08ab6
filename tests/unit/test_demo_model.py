"""The bundled demonstrator, loaded by llama.cpp, and the holes on which it is trained and measured.

Nothing is trained, and torch is not needed. A test is skipped, with the reason, if a part is not installed or built.
"""

from __future__ import annotations

import ctypes
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import llama_cpp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo_model import evaluate, holes, scoring
from starcoder_lsp.engine.host.ladder import Caution
from tests.unit.gguf_files import MARKERS

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 30_000_000
SOURCE = Path(__file__).read_text("utf-8")
CODE = st.text(st.sampled_from("ab_ \n:#(\t\u00e91"), min_size=1, max_size=200)


@pytest.fixture(scope="module")
def path() -> Path:
    """The path of the bundled file; skips if it is not built."""
    if not evaluate.DEFAULT_MODEL.exists():
        pytest.skip(f"{evaluate.DEFAULT_MODEL.name} is not built: see demo_model/README.md")
    return evaluate.DEFAULT_MODEL


@pytest.fixture(scope="module")
def model(path: Path, caution: Caution) -> scoring.Model:
    """Load the bundled file once, without the features that crash on this machine."""
    return scoring.Model(path, n_threads=1, lays_out_anew=caution < Caution.PLAIN_WEIGHTS)


@pytest.fixture(scope="module")
def metadata(path: Path) -> Iterator[dict[str, str]]:
    """Read the file's metadata."""
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    handle = llama_cpp.llama_model_load_from_file(str(path).encode(), params)

    def read(read_one: Any, i: int) -> str:
        room = ctypes.create_string_buffer(4096)
        read_one(handle, i, room, len(room))
        return room.value.decode()

    count = llama_cpp.llama_model_meta_count(handle)
    key, value = llama_cpp.llama_model_meta_key_by_index, llama_cpp.llama_model_meta_val_str_by_index
    yield {read(key, i): read(value, i) for i in range(count)}
    llama_cpp.llama_model_free(handle)


def test_file_is_small_enough_for_the_package(path: Path) -> None:
    """Everybody who installs the package downloads it."""
    assert path.stat().st_size <= MAX_BYTES


def test_file_has_the_architecture_but_not_the_name_of_starcoder2(metadata: dict[str, str]) -> None:
    """The file must not be mistaken for the model that it imitates."""
    assert metadata["general.architecture"] == "starcoder2"
    assert "demonstrator" in metadata["general.name"]
    assert "not StarCoder2" in metadata["general.description"]
    assert metadata["general.license"] == "apache-2.0"


def test_special_tokens_have_starcoder2s_ids(model: scoring.Model) -> None:
    """Ids 0 to 6 are the markers, and llama.cpp knows their roles."""
    assert tuple(llama_cpp.llama_vocab_get_text(model.vocab, i).decode() for i in range(len(MARKERS))) == MARKERS
    assert model.psm([], []) == [1, 3, 2]
    assert not llama_cpp.llama_vocab_get_add_bos(model.vocab)
    controls = [i for i in range(model.n_vocab) if llama_cpp.llama_vocab_is_control(model.vocab, i)]
    assert controls == list(range(len(MARKERS)))


@given(st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from(" \n\t<>_|09aé")), max_size=80))
def test_pieces_of_tokens_are_the_text(model: scoring.Model, text: str) -> None:
    """The vocabulary is byte-level, so every text has tokens, and their pieces are that text."""
    assert b"".join(map(model.piece, model.ids(text))) == text.encode()


@pytest.mark.parametrize("marker", MARKERS)
def test_a_marker_in_a_file_is_plain_text(model: scoring.Model, marker: str) -> None:
    """A source file that spells a marker must not steer the model."""
    assert min(model.ids(f"x = '{marker}'")) >= len(MARKERS)


def test_model_predicts_python(model: scoring.Model) -> None:
    """If tensors were mixed up, a token would cost `ln(n_vocab)` = 9.0 nats or more, as by guessing."""
    ids = model.ids(SOURCE)[:512]
    loss = -scoring.log_probabilities(model.decode(ids, 0, len(ids))[:-1], ids[1:]).mean()
    assert loss < math.log(model.n_vocab) * 2 / 3


def test_answers_do_not_depend_on_earlier_answers(model: scoring.Model) -> None:
    """Each measured hole starts from an empty sequence."""
    picked = holes.pick_holes([SOURCE], "rest_of_line", 2, seed=0)
    (first,) = scoring.fill(model, picked[0], ["psm"])
    scoring.fill(model, picked[1], ["anchored"])
    (again,) = scoring.fill(model, picked[0], ["psm"])
    assert again.text == first.text
    assert again.log_probability == pytest.approx(first.log_probability, abs=1e-3)


@given(st.text(st.sampled_from("ab \t=(é€🎉"), max_size=12))
def test_tokens_and_healed_bytes_together_are_the_text(model: scoring.Model, typed: str) -> None:
    """The bytes to heal are whole characters, and stand behind the tokens that are sent."""
    ids, owed = scoring.step_back(model, typed)
    assert b"".join(map(model.piece, ids)) + owed == typed.encode()
    assert owed.decode() == typed[len(typed) - len(owed.decode()) :]
    assert bool(owed) == bool(typed)
    assert typed == "" or scoring.agreeing(model, owed).any()


def test_healing_repeats_the_typed_characters(model: scoring.Model) -> None:
    """The first tokens agree with the characters before the cursor, and are no part of the answer."""
    hole = holes.Hole("import os\nimport sy", "s", "\nprint(sys.argv)\n")
    (answer,) = scoring.fill(model, hole, ["anchored"])
    assert not answer.text.startswith(("sy", " sy"))
    assert answer.log_probability <= 0


@given(st.lists(CODE, max_size=3), st.sampled_from(sorted(holes.KINDS)), st.integers(0, 20))
def test_measured_holes_are_the_end_of_a_line_of_code(texts: list[str], kind: str, seed: int) -> None:
    """The hidden text is not blank, ends with its line, and fits between what is shown."""
    for hole in holes.pick_holes(texts, kind, 10, seed):
        assert hole.prefix + hole.middle + hole.suffix in texts
        assert hole.middle.strip()
        assert "\n" not in hole.middle
        assert hole.suffix[:1] in {"", "\n"}
        before = hole.prefix.rpartition("\n")[2]
        assert not (before + hole.middle).lstrip().startswith("#")
        if kind == "whole_line":
            assert before == ""
        if kind == "rest_of_line":
            assert before.strip() or not hole.middle[0].isspace()
        if kind == "mid_word":
            assert f"{before[-1]}{hole.middle[0]}".replace("_", "a").isalnum()
