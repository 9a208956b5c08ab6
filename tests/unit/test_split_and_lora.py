"""Models in several files, LoRA adapters, files that are no models, and paths that cannot be paths."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from itertools import pairwise
from math import prod
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from starcoder_lsp.engine.engine import EngineError, Prompt
from starcoder_lsp.engine.gguf import START, Cursor
from starcoder_lsp.engine.host.ladder import Caution
from starcoder_lsp.engine.host.options import HostOptions
from starcoder_lsp.engine.loading import DEMONSTRATOR, opened
from starcoder_lsp.engine.lora import check_lora
from starcoder_lsp.engine.model_file import ModelFileError, check_model_file
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.settings import LoraSettings, Settings
from tests.unit.gguf_files import F32, Raw, Tensor, gguf, starcoder2_metadata, string, value

F16 = 1
ALIGNMENT = 32


def u16(number: int) -> Raw:
    return Raw(2, struct.pack("<H", number))


def i32(number: int) -> Raw:
    return Raw(5, struct.pack("<i", number))


def parts_of(path: Path, bounds: Sequence[int]) -> list[bytes]:
    """Return the file at `path` in parts, as `gguf-split` writes them; `bounds` has each part's first tensor."""
    data = path.read_bytes()
    cursor = Cursor(data)
    _, version, n_tensors, n_keys = cursor.unpack(START)
    keys_start = cursor.byte
    for _ in range(n_keys):
        cursor.string()
        cursor.value()
    keys = data[keys_start : cursor.byte]
    tensors = [cursor.tensor() for _ in range(n_tensors)]
    data_start = cursor.byte + -cursor.byte % ALIGNMENT
    parts = []
    edges = [*bounds, n_tensors]
    for number, (first, last) in enumerate(pairwise(edges)):
        split = {"split.no": u16(number), "split.count": u16(len(bounds)), "split.tensors.count": i32(n_tensors)}
        own_keys = (keys if number == 0 else b"") + b"".join(string(key) + value(each) for key, each in split.items())
        entries, content = b"", b""
        for tensor in tensors[first:last]:
            shape = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
            entries += string(tensor.name) + shape + struct.pack("<IQ", tensor.tensor_type, len(content))
            start = data_start + tensor.start_byte
            content += data[start : start + tensor.n_bytes]
            content += bytes(-len(content) % ALIGNMENT)
        n_own_keys = len(split) + (n_keys if number == 0 else 0)
        head = START.pack(b"GGUF", version, last - first, n_own_keys) + own_keys + entries
        parts.append(head + bytes(-len(head) % ALIGNMENT) + content)
    return parts


def write_parts(folder: Path, parts: Sequence[bytes], stem: str = "tiny") -> list[Path]:
    paths = [folder / f"{stem}-{number:05}-of-{len(parts):05}.gguf" for number in range(1, len(parts) + 1)]
    for path, part in zip(paths, parts, strict=True):
        path.write_bytes(part)
    return paths


@pytest.fixture(scope="module")
def three() -> list[bytes]:
    return parts_of(DEMONSTRATOR, [0, 20, 45])


def with_model(path: Path, lora: LoraSettings | None = None) -> Settings:
    settings = Settings()
    model = evolve(settings.model, path=str(path), lora=lora or LoraSettings())
    return evolve(settings, model=model, host=evolve(settings.host, shared=False))


def scores(settings: Settings, ids: tuple[int, ...] = (300, 301, 302, 303)) -> list[float]:
    """Return the log-probabilities of some ids behind `ids`, from a host of its own."""

    async def run_score() -> list[float]:
        async with opened(settings) as (_, engine):
            return list(await engine.score(Prompt(ids, frozenset(), "PSM"), (400, 401, 402)))

    return asyncio.run(run_score())


def test_a_split_model_equals_the_whole_one(tmp_path: Path, three: list[bytes]) -> None:
    first = write_parts(tmp_path, three)[0]
    whole, split = check_model_file(DEMONSTRATOR), check_model_file(first)
    assert split.n_parameters == whole.n_parameters
    assert split.n_bytes == sum(map(len, three))
    assert (split.name, split.n_layers, split.n_embd) == (whole.name, whole.n_layers, whole.n_embd)
    assert scores(with_model(first)) == scores(with_model(DEMONSTRATOR))


def test_the_first_part_may_have_no_tensors(tmp_path: Path) -> None:
    first = write_parts(tmp_path, parts_of(DEMONSTRATOR, [0, 0, 10]))[0]
    assert check_model_file(first).n_parameters == check_model_file(DEMONSTRATOR).n_parameters


def test_the_error_names_the_faulty_part(tmp_path: Path, three: list[bytes]) -> None:
    paths = write_parts(tmp_path, three)

    def refusal(path: Path = paths[0]) -> str:
        with pytest.raises(ModelFileError) as raised:
            check_model_file(path)
        return str(raised.value)

    assert "later part" in refusal(paths[1])
    assert paths[0].name in refusal(paths[1])
    paths[2].unlink()
    assert f"There is no model file {paths[2]}" in refusal()
    paths[2].write_bytes(three[2][:-100])
    assert "is cut off" in refusal()
    assert str(paths[2]) in refusal()
    paths[2].write_bytes(three[1])
    assert "is not part 3 of 3" in refusal()
    paths[2].write_bytes(DEMONSTRATOR.read_bytes())
    assert "is not part 3 of 3" in refusal()
    paths[2].write_bytes(b"<html>")
    assert "web page" in refusal()
    paths[2].write_bytes(three[2])
    renamed = tmp_path / "renamed.gguf"
    renamed.write_bytes(three[0])
    assert "under a wrong name" in refusal(renamed)


@pytest.mark.parametrize("count", [u16(0xFFFF), "many", i32(-1), True])
def test_an_invalid_number_of_parts_is_refused(tmp_path: Path, count: object) -> None:
    path = tmp_path / "x-00001-of-00002.gguf"
    path.write_bytes(gguf(starcoder2_metadata() | {"split.count": count}, [Tensor("token_embd.weight", (8, 7))]))
    with pytest.raises(ModelFileError, match=r"split\.count"):
        check_model_file(path)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"general.architecture": "clip"}, "projector for images"),
        ({"general.type": "mmproj", "general.architecture": "starcoder2"}, "projector for images"),
        ({"general.type": "imatrix"}, "importance matrix"),
        ({"general.type": "adapter", "general.architecture": "starcoder2"}, "LoRA adapter"),
        ({"general.architecture": "controlvector"}, "control vector"),
    ],
)
def test_the_error_names_the_kind_of_a_gguf_file_that_is_no_model(
    tmp_path: Path, metadata: dict[str, object], words: str
) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf(metadata, [Tensor("x", (32, 2))]))
    with pytest.raises(ModelFileError, match=words):
        check_model_file(path)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (
            "file:///home/me/my%20model.gguf",
            "is a file:// URI, not a path. Write the path itself: /home/me/my model.gguf",
        ),
        ("https://huggingface.co/o/r/resolve/main/x.gguf", "is a web address"),
        ("hf://o/r/x.gguf", "is a web address"),
        ("$HOME/models/x.gguf", "has a variable, $HOME"),
        ("${HOME}/x.gguf", "has a variable, ${HOME}"),
        ("%USERPROFILE%/x.gguf", "has a variable, %USERPROFILE%"),
        ("org/repo:x.gguf", "models pull org/repo:x.gguf"),
        ("starcoder2-3b", "Set starcoder.model.name"),
    ],
)
def test_the_error_names_the_mistake_in_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelFileError) as raised:
        check_model_file(Path(written))
    assert words in str(raised.value)
    Path(written).parent.mkdir(parents=True, exist_ok=True)
    Path(written).write_bytes(DEMONSTRATOR.read_bytes())
    assert check_model_file(Path(written)).n_bytes > 0, "a file of that name is one"


def test_the_error_for_a_folder_lists_its_models(tmp_path: Path) -> None:
    (tmp_path / "b.gguf").touch()
    (tmp_path / "a.gguf").touch()
    (tmp_path / "c.txt").touch()
    with pytest.raises(ModelFileError, match=r"is a folder, not a file. Name a file in it: a.gguf, b.gguf"):
        check_model_file(tmp_path)


# Adapters


def embedding_of(path: Path) -> tuple[str, tuple[int, ...]]:
    """Return the name and the shape, in ggml's order, of a matrix that an adapter can change."""
    cursor = Cursor(path.read_bytes())
    _, _, n_tensors, n_keys = cursor.unpack(START)
    for _ in range(n_keys):
        cursor.string()
        cursor.value()
    tensors = [cursor.tensor() for _ in range(n_tensors)]
    tensor = next(each for each in tensors if each.name == b"blk.0.attn_output.weight")
    return tensor.name.decode(), tensor.shape


def adapter(
    path: Path, strength: float = 1.0, architecture: str = "starcoder2", rank: int = 2, n_more: int = 0
) -> Path:
    """Write an adapter for one matrix, with the same random numbers each time; `strength` scales it."""
    name, (n_in, n_out) = embedding_of(DEMONSTRATOR)
    chance = np.random.default_rng(3)
    a = chance.standard_normal((rank, n_in + n_more)).astype("<f4")
    b = (chance.standard_normal((n_out, rank)) * strength).astype("<f4")
    metadata: dict[str, object] = {
        "general.type": "adapter",
        "general.architecture": architecture,
        "adapter.type": "lora",
        "adapter.lora.alpha": float(rank),
    }
    tensors = [Tensor(f"{name}.lora_a", (n_in + n_more, rank), F32), Tensor(f"{name}.lora_b", (rank, n_out), F32)]
    first = a.tobytes()
    path.write_bytes(
        gguf(metadata, tensors, data=first + bytes(-len(first) % ALIGNMENT) + b.tobytes() + bytes(ALIGNMENT))
    )
    assert prod(tensors[0].shape) == a.size
    return path


def test_the_effect_of_an_adapter_is_proportional_to_its_scale(tmp_path: Path) -> None:
    plain = scores(with_model(DEMONSTRATOR))
    once = adapter(tmp_path / "once.gguf")
    twice = adapter(tmp_path / "twice.gguf", strength=2.0)
    assert scores(with_model(DEMONSTRATOR, LoraSettings(str(once), 0.0))) == pytest.approx(plain, abs=1e-3)
    changed = scores(with_model(DEMONSTRATOR, LoraSettings(str(once))))
    assert changed != pytest.approx(plain, abs=1e-2)
    doubled = scores(with_model(DEMONSTRATOR, LoraSettings(str(once), 2.0)))
    assert doubled == pytest.approx(scores(with_model(DEMONSTRATOR, LoraSettings(str(twice)))), abs=1e-3)


def test_each_adapter_and_scale_has_its_own_host(tmp_path: Path) -> None:
    file = check_model_file(DEMONSTRATOR)
    one = adapter(tmp_path / "one.gguf")
    choices = [LoraSettings(), LoraSettings(str(one)), LoraSettings(str(one), 0.5)]
    keys = [HostOptions.of(with_model(DEMONSTRATOR, each), file).key for each in choices]
    adapter(one, strength=3.0)
    assert len({*keys, HostOptions.of(with_model(DEMONSTRATOR, choices[1]), file).key}) == 4
    options = HostOptions.of(with_model(DEMONSTRATOR, choices[2]), file)
    assert HostOptions.from_json(options.to_json()) == options


def test_each_adapter_and_scale_has_its_own_key_of_cells(
    prompts: PromptModel, caution: Caution, tmp_path: Path
) -> None:
    from starcoder_lsp.engine.local.llama import LlamaContext, LoadOptions

    def key(lora: LoraSettings) -> tuple[object, ...]:
        checked = check_lora(lora, "starcoder2")
        options = LoadOptions(
            DEMONSTRATOR,
            256,
            prompts.n_bytes,
            n_threads=1,
            use_extra_buffers=caution < Caution.PLAIN_WEIGHTS,
            lora=checked,
        )
        context = LlamaContext(options, prompts.tokenizer.pieces)
        found = context.cells_key
        context.close()
        return found

    one = adapter(tmp_path / "one.gguf")
    assert len({key(LoraSettings()), key(LoraSettings(str(one))), key(LoraSettings(str(one), 0.5))}) == 3


def test_an_adapter_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    broken = adapter(tmp_path / "broken.gguf", n_more=8)
    with pytest.raises(EngineError, match=r"could not load the adapter"):
        scores(with_model(DEMONSTRATOR, LoraSettings(str(broken))))


@pytest.mark.parametrize("written", ["missing.gguf", "$HOME/x.gguf", "file:///x.gguf", "."])
def test_a_missing_adapter_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelFileError):
        check_lora(LoraSettings(written), "starcoder2")


def test_a_file_that_is_no_adapter_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="is no LoRA adapter"):
        check_lora(LoraSettings(str(DEMONSTRATOR)), "starcoder2")
    other = adapter(tmp_path / "other.gguf", architecture="starcoder")
    with pytest.raises(ModelFileError, match="was made for the architecture 'starcoder'"):
        check_lora(LoraSettings(str(other)), "starcoder2")
    other.write_bytes(other.read_bytes()[:60])
    with pytest.raises(ModelFileError, match="is cut off"):
        check_lora(LoraSettings(str(other)), "starcoder2")
