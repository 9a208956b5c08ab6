"""The tokenizer from a file's header gives llama.cpp's ids and pieces, and refuses a damaged vocabulary."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.context.caching_tokenizer import CachingTokenizer
from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.families import FAMILIES
from starcoder_lsp.engine.fim import format_for
from starcoder_lsp.engine.gguf import Cursor
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.model_file import ModelFileError, check_model_file, parse_metadata
from starcoder_lsp.engine.prompt_model import PromptModel, read_prompt_model
from starcoder_lsp.engine.tokenizer import GgufTokenizer, read_tokenizer
from starcoder_lsp.engine.tokens import Tokenizer, fit_head, fit_tail
from tests.unit.gguf_files import Raw, byte_tokens, gguf, starcoder2_metadata, starcoder2_tensors
from tests.unit.test_caching_tokenizer import ODD

ROOT = Path(__file__).parents[2]
STARCODER2 = ROOT.parent / "shared" / "data" / "starcoder2-vocab.gguf"
MARKERS = tuple(FAMILIES["starcoder2"].markers.values())
N_CORPUS_BYTES = 1 << 20
# In a process of its own, since llama.cpp has one log callback a process, and a crash would end the tests.
ORACLE = """
import json, sys
import llama_cpp
from tests.llama_tokenizer import LlamaTokenizer
params = llama_cpp.llama_model_default_params()
params.vocab_only = True
model = llama_cpp.llama_model_load_from_file(sys.argv[1].encode(), params)
tokenizer = LlamaTokenizer(model)
asked = json.load(sys.stdin)
n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
json.dump({
    "ids": [tokenizer.encode(text.encode()) for text in asked["texts"]],
    "pieces": [tokenizer.piece(token_id).hex() for token_id in range(n_vocab)],
    "spellings": [tokenizer.spelling(token_id).hex() for token_id in range(n_vocab)],
    "markers": [tokenizer.marker(marker) for marker in asked["markers"]],
}, sys.stdout)
"""


@cache
def read(path: Path) -> GgufTokenizer:
    data = path.read_bytes()
    return read_tokenizer(parse_metadata(Cursor(data))[0], data, FAMILIES["starcoder2"])


def llama(path: Path, texts: Sequence[str], markers: Sequence[str] = ()) -> dict[str, list]:
    """Return llama.cpp's ids, pieces, spellings and markers."""
    program = subprocess.run(  # noqa: S603  the program is above
        [sys.executable, "-c", ORACLE, str(path)],
        input=json.dumps({"texts": texts, "markers": markers}),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return json.loads(program.stdout)


@pytest.fixture(params=[DEMONSTRATOR, pytest.param(STARCODER2, marks=pytest.mark.shared)], ids=lambda path: path.stem)
def vocabulary(request: pytest.FixtureRequest) -> Path:
    if not request.param.exists():
        pytest.skip(f"{request.param} is not there")
    return request.param


@pytest.fixture(scope="module")
def demonstrator() -> GgufTokenizer:
    return read(DEMONSTRATOR)


def check_ids(path: Path, texts: Sequence[str]) -> None:
    """Check that ids equal llama.cpp's; a failure shows the first text with other ids."""
    tokenizer = read(path)
    for text, ids in zip(texts, llama(path, texts)["ids"], strict=True):
        assert list(tokenizer.encode(text.encode())) == ids, ascii(text[:200])


@pytest.mark.shared
def test_published_texts_have_the_published_ids(shared: Path) -> None:
    texts = (shared / "data/starcoder2-vocab.inp").read_text().split("\n__ggml_vocab_test__\n")
    rows = (shared / "data/starcoder2-vocab.out").read_text().split("\n")
    expected = [tuple(int(token_id) for token_id in row.split()) for row in rows]
    assert [read(STARCODER2).encode(text.encode()) for text in texts] == expected
    assert len(texts) == 47


def test_pieces_spellings_and_markers_equal_those_of_llama_cpp(vocabulary: Path) -> None:
    tokenizer = read(vocabulary)
    names = [*MARKERS, "<fim>", "<jupyter_start>", ""]
    expected = llama(vocabulary, [], names)
    assert [piece.hex() for piece in tokenizer.pieces] == expected["pieces"]
    ids = range(len(expected["pieces"]))
    assert [tokenizer.piece(token_id).hex() for token_id in ids] == expected["pieces"]
    assert [tokenizer.spelling(token_id).hex() for token_id in ids] == expected["spellings"]
    assert [tokenizer.marker(name) for name in names] == expected["markers"]


def test_code_of_several_languages_has_llama_cpps_ids(vocabulary: Path) -> None:
    check_ids(vocabulary, list(_code()))


def _code() -> Iterator[str]:
    """Yield files of this repository and of Python's library, a limited number of bytes of each kind."""
    library = Path(os.__file__).parent
    for folder, pattern in ((ROOT / "starcoder_lsp", "*.py"), (ROOT / "tests", "*.py"), (library, "*.py")):
        yield from _files(sorted(folder.glob(f"**/{pattern}")), N_CORPUS_BYTES // 4)
    for pattern in ("*.md", "*.scm", "*.lua", "*.js", "*.json", "*.el", "*.toml"):
        found = [path for path in sorted(ROOT.glob(f"*/**/{pattern}")) if "node_modules" not in path.parts]
        yield from _files([path for path in found if ".venv" not in path.parts], N_CORPUS_BYTES // 16)


def _files(paths: Sequence[Path], n_bytes: int) -> Iterator[str]:
    for path in paths:
        data = path.read_bytes()[:n_bytes]
        n_bytes -= len(data)
        if data:
            yield data.decode(errors="replace")


@pytest.mark.shared
def test_recorded_edits_have_llama_cpps_ids(shared: Path) -> None:
    data = gzip.decompress((shared / "data/rustcode.json.gz").read_bytes())[: N_CORPUS_BYTES // 4]
    check_ids(STARCODER2, [data.decode(errors="replace")])


def test_each_character_beside_others_has_llama_cpps_ids(vocabulary: Path) -> None:
    """Of scripts with thousands of similar characters only a few are tried."""
    alike = ("CJK UNIFIED", "CJK COMPAT", "HANGUL SYLLABLE", "TANGUT", "EGYPTIAN", "CUNEIFORM", "ANATOLIAN", "NUSHU")
    named = ((chr(point), unicodedata.name(chr(point), "")) for point in range(sys.maxunicode + 1))
    odd = [chr(point) for point in (*range(0xA0), 0x378, 0x3400, 0x9FFF, 0xAC00, 0xE000, 0xFFFE, 0xE0080, 0x10FFFF)]
    shown = [character for character, name in named if name and not name.startswith(alike)]
    texts = [f"a{c}a {c}1{c} {c}{c}\n{c}(" for c in {*odd, *shown}]
    check_ids(vocabulary, ["".join(texts[i : i + 50]) for i in range(0, len(texts), 50)])


def test_random_text_has_llama_cpps_ids(vocabulary: Path) -> None:
    pieces = [
        *ODD,
        *"aZ_09(){}[];.'\"",
        "\u0085",
        "\u2029",
        "\u1680",
        "\u200b",
        "\ufeff",
        "\r\n\r\n",
        "'s",
        "'LL",
        "'re",
    ]
    pieces += [
        "²",
        "½",
        "Ⅷ",
        "٣",
        "१",
        "①",
        "\U0001d7d8",
        "ß",
        "ö",
        "o\u0308",
        "中文",
        "カ\u3099",
        "한",
        "👩\u200d💻",
        "🇩🇪",
        "\u00ad",
    ]
    pieces += [" " * 7, "\n" * 5, "\t\t", " \n ", "    return", "<fim_prefix>", "<|endoftext|>", "\U0001f9d1\U0001f3fd"]
    rng = random.Random(2)
    texts = ["".join(rng.choices(pieces, k=rng.randrange(40))) for _ in range(4000)]
    texts += [chr(rng.choice([32, 160])) * n + "x" for n in range(1, 600, 7)] + ["\n" * n for n in range(1, 600, 7)]
    texts += ["a" * 5000, "=" * 5000, "1" * 5000, "ab" * 5000]
    check_ids(vocabulary, texts)


@given(st.binary(max_size=200) | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_pieces_together_are_the_bytes(demonstrator: GgufTokenizer, data: bytes) -> None:
    assert b"".join(map(demonstrator.piece, demonstrator.encode(data))) == data


@pytest.mark.parametrize("data", [b"\x80", b"\xff" * 3, "é".encode()[:1], "😀".encode()[:3], b"\xed\xa0\x80"])
def test_invalid_utf_8_takes_a_token_a_byte_and_the_text_around_is_unaffected(
    demonstrator: GgufTokenizer, data: bytes
) -> None:
    ids = demonstrator.encode(b"def f" + data + b" return x")
    first, last = demonstrator.encode(b"def f"), demonstrator.encode(b" return x")
    middle = demonstrator.encode(data)
    assert ids == (*first, *middle, *last)
    assert len(middle) == len(data)


@pytest.mark.shared
@given(st.binary(max_size=60) | st.lists(st.sampled_from([b"\xf1", b"\x80", b"\xc0", b"a", b"\n"])).map(b"".join))
def test_a_byte_without_a_token_becomes_a_question_mark(data: bytes) -> None:
    if not STARCODER2.exists():
        pytest.skip(f"{STARCODER2} is not there")
    tokenizer = read(STARCODER2)
    absent = b"\xc0\xc1\xf1" + bytes(range(0xF5, 0x100))
    replaced = data.translate(bytes.maketrans(absent, b"?" * len(absent)))
    assert b"".join(map(tokenizer.piece, tokenizer.encode(data))) == replaced
    assert tokenizer.encode(data) == tokenizer.encode(replaced)


LINES = st.lists(
    st.sampled_from([*ODD, "\n", "\n", "\n", "a", "1", "_", "'s", "(", ";", "return", "    "]), max_size=30
)
HALVES = st.lists(st.sampled_from([b"\x80", b"\n", b"\n", b"a", b"\xc3", b"\xff", b" ", b";"]), max_size=30)


@given(LINES.map("".join).map(str.encode) | HALVES.map(b"".join) | st.binary(max_size=40))
def test_tokenizing_line_by_line_gives_the_ids_of_the_whole(demonstrator: GgufTokenizer, data: bytes) -> None:
    tokenizers = [demonstrator, read(STARCODER2)] if STARCODER2.exists() else [demonstrator]
    for tokenizer in tokenizers:
        assert CachingTokenizer(tokenizer).encode(data) == tokenizer.encode(data)


@given(text=st.text(max_size=200), n_tokens=st.integers(0, 60))
def test_the_text_that_fits_is_given_in_bytes(demonstrator: GgufTokenizer, text: str, n_tokens: int) -> None:
    data = text.encode()
    for fit in (fit_head, fit_tail):
        n_bytes = fit(demonstrator, data, n_tokens)
        assert 0 <= n_bytes <= len(data)
        assert n_bytes == len(data) or len(demonstrator.encode(data)) > n_tokens


@pytest.mark.parametrize("text", ["<fim_middle>", "<|endoftext|>", "a <file_sep> b", "<repo_name>"])
def test_a_marker_in_a_file_is_plain_text(vocabulary: Path, text: str) -> None:
    tokenizer = read(vocabulary)
    ids = tokenizer.encode(text.encode())
    assert not format_for("starcoder2", tokenizer).stop_ids & set(ids)
    assert b"".join(map(tokenizer.piece, ids)) == text.encode()


def test_the_demonstrator_as_a_prompt_model() -> None:
    model, checked = read_prompt_model(DEMONSTRATOR, 100_000), check_model_file(DEMONSTRATOR)
    assert (model.name, model.architecture, model.n_context) == (checked.name, "starcoder2", checked.n_context_train)
    assert (model.n_parameters, model.n_bytes) == (checked.n_parameters, DEMONSTRATOR.stat().st_size)
    assert model.fim.markers == {"end": 0, "prefix": 1, "middle": 2, "suffix": 3, "pad": 4, "repo": 5, "file": 6}
    assert read_prompt_model(DEMONSTRATOR, 512).n_context == 512


def test_neither_llama_cpp_nor_numpy_is_imported() -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom starcoder_lsp.engine.prompt_model import read_prompt_model\n"
        "read_prompt_model(Path(sys.argv[1]), 512).tokenizer.encode(b'x = 1')\n"
        "print(*({'llama_cpp', 'numpy', 'huggingface_hub'} & set(sys.modules)))"
    )
    ran = subprocess.run(  # noqa: S603  the program is above
        [sys.executable, "-c", program, str(DEMONSTRATOR)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ran.stdout.strip() == ""


NAMES = starcoder2_metadata()["tokenizer.ggml.tokens"]
TOKENS = [*NAMES, *byte_tokens(), "ab", "abc"]
TYPES = [3] * 7 + [1] * 258
MERGES = ["a b", "ab c"]
TENSORS = starcoder2_tensors()
Make = Callable[..., PromptModel]


def written(tokens: object = TOKENS, types: object = TYPES, merges: object = MERGES) -> bytes:
    keys = {"tokenizer__ggml__tokens": tokens, "tokenizer__ggml__token_type": types, "tokenizer__ggml__merges": merges}
    return gguf(starcoder2_metadata(**keys), TENSORS)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], PromptModel]:
    """`read_prompt_model` on a file with these bytes."""
    path = tmp_path_factory.mktemp("models") / "model.gguf"
    path.touch()

    def read_bytes(data: bytes) -> PromptModel:
        with path.open("r+b") as file:  # "wb" would truncate the file first, and ext4 then takes 4 ms to flush it
            file.write(data)
            file.truncate()
        return read_prompt_model(path, 64)

    return read_bytes


def array_of_strings(*texts: bytes) -> Raw:
    data = b"".join(len(text).to_bytes(8, "little") + text for text in texts)
    return Raw(9, (8).to_bytes(4, "little") + len(texts).to_bytes(8, "little") + data)


def test_a_small_vocabulary_is_read(make: Make) -> None:
    tokenizer = make(written()).tokenizer
    assert tokenizer.encode(b"abcab a") == (264, 263, 7 + 0x20, 7 + ord("a"))


@pytest.mark.parametrize("types", [None, [1] * 265, [1] * 7 + [1] * 258, [4] * 7 + [1] * 258])
def test_markers_are_recognized_whatever_their_token_type(make: Make, types: object) -> None:
    model = make(written(types=types))
    assert model.fim.stop_ids == frozenset(range(7))
    assert {model.tokenizer.piece(token_id) for token_id in range(7)} == {b""}
    assert model.tokenizer.spelling(1).decode() == NAMES[1]


@pytest.mark.parametrize(("token_type", "piece"), [(1, b"<x>"), (2, b""), (3, b""), (4, b"<x>"), (5, b"")])
def test_each_type_of_token_has_its_piece(make: Make, token_type: int, piece: bytes) -> None:
    tokenizer = make(written([*TOKENS, "<x>"], [*TYPES, token_type])).tokenizer
    assert tokenizer.piece(265) == piece
    assert tokenizer.spelling(265) == b"<x>"
    assert tokenizer.marker("<x>") == (265 if token_type in {2, 3, 4} else None)


def test_the_first_of_two_equal_merges_counts(make: Make) -> None:
    merges = ["b c", "a b", "b c"]
    tokenizer = make(written([*TOKENS, "bc"], [*TYPES, 1], merges)).tokenizer
    assert tokenizer.encode(b"abc") == (7 + ord("a"), 265)


def test_a_vocabulary_may_have_no_merges(make: Make) -> None:
    assert len(make(written(merges=array_of_strings())).tokenizer.encode(b"abc")) == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"merges": None}, "its tokenizer.ggml.merges is missing"),
        ({"merges": "a b"}, "its tokenizer.ggml.merges is no array of strings"),
        ({"merges": [1, 2]}, "its tokenizer.ggml.merges is no array of strings"),
        ({"merges": ["ab"]}, "the merge b'ab' of its vocabulary is no pair"),
        ({"merges": [""]}, "the merge b'' of its vocabulary is no pair"),
        ({"merges": [" "]}, "the merge b' ' of its vocabulary is no pair"),
        ({"merges": ["a b c"]}, "the merge b'a b c' of its vocabulary is no pair"),
        ({"merges": ["a  b"]}, "the merge b'a  b' of its vocabulary is no pair"),
        ({"merges": ["a b", "a xyz"]}, "the merge b'a xyz' of its vocabulary is no pair"),
        ({"merges": ["xyz a"]}, "the merge b'xyz a' of its vocabulary is no pair"),
        ({"merges": ["x y"]}, "the merge b'x y' of its vocabulary is no pair"),
        ({"merges": ["<fim_prefix> a"]}, "is no pair"),
        ({"merges": array_of_strings(b"a \xff")}, "is no UTF-8"),
        ({"types": 1}, "its tokenizer.ggml.token_type is no array of signed 32-bit numbers"),
        ({"types": ["1", "1"]}, "its tokenizer.ggml.token_type is no array of signed 32-bit numbers"),
        ({"types": TYPES[1:]}, "its vocabulary has 265 tokens and 264 types of tokens"),
        ({"types": [*TYPES, 1]}, "its vocabulary has 265 tokens and 266 types of tokens"),
        ({"types": [*TYPES[1:], 6]}, "a token of its vocabulary is of the unknown type 6"),
        ({"types": [*TYPES[1:], -1]}, "a token of its vocabulary is of the unknown type -1"),
        ({"tokens": [*TOKENS[1:], "a b"]}, "the token 'a b' of its vocabulary spells no bytes"),
        ({"tokens": [*TOKENS[1:], "a\n"]}, r"the token 'a\n' of its vocabulary spells no bytes"),
        ({"tokens": [*TOKENS[1:], "▁a"]}, r"the token '\u2581a' of its vocabulary spells no bytes"),
        ({"tokens": [*TOKENS[1:], "\U0001f600"]}, "spells no bytes"),
        ({"tokens": [*TOKENS[1:], "zz\0"]}, "spells no bytes"),
        ({"tokens": [*TOKENS[1:], ""]}, "the token '' of its vocabulary spells no bytes"),
        ({"tokens": array_of_strings(*(token.encode() for token in TOKENS[1:]), b"\xc4")}, "is no UTF-8"),
        ({"tokens": [*TOKENS[1:], "z" * 10_000 + " "]}, "spells no bytes"),
        ({"tokens": [f"<{i}>" for i in range(265)]}, "its vocabulary has no token for '?'"),
    ],
)
def test_a_damaged_vocabulary_is_a_one_line_error(make: Make, changes: dict[str, object], words: str) -> None:
    with pytest.raises(ModelFileError) as caught:
        make(written(**changes))
    text = str(caught.value)
    assert " is damaged: " in text
    assert words in text
    assert text.isprintable()
    assert len(text) < 400


def test_a_model_that_cannot_infill_is_refused(make: Make) -> None:
    tokens = [token.replace("fim", "x") for token in TOKENS]
    with pytest.raises(EngineError, match="use a model that can infill"):
        make(written(tokens))


def test_other_errors_are_those_of_the_file_check(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="There is no model file"):
        read_prompt_model(tmp_path / "none.gguf", 64)


VALID = written()
N_VOCABULARY_END = VALID.index(b"tokenizer.ggml.eos_token_id")


def tokenizer_or_refusal(make: Make, data: bytes) -> Tokenizer | None:
    """Return the tokenizer, or `None` for an `EngineError` of one line. Any other exception fails the test."""
    try:
        return make(data).tokenizer
    except EngineError as error:
        text = str(error)
    assert text.isprintable()
    return None


@given(start=st.integers(0, N_VOCABULARY_END), n=st.integers(0, 16), replacement=st.binary(max_size=16))
def test_no_changed_region_raises_another_error(make: Make, start: int, n: int, replacement: bytes) -> None:
    tokenizer = tokenizer_or_refusal(make, VALID[:start] + replacement + VALID[start + n :])
    assert tokenizer is None or len(b"".join(map(tokenizer.piece, tokenizer.encode(b"abc \xff")))) == 5


@pytest.mark.parametrize("change", [lambda byte: byte ^ 0xFF, lambda byte: byte ^ 1, lambda _: 0x20])
def test_no_changed_byte_of_the_vocabulary_raises_another_error(make: Make, change: Callable[[int], int]) -> None:
    for i in range(VALID.index(b"tokenizer.ggml.tokens"), N_VOCABULARY_END, 3):
        tokenizer_or_refusal(make, VALID[:i] + bytes([change(VALID[i])]) + VALID[i + 1 :])
