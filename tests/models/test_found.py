"""Models of other programs: each layout of a store, and other files that may be in it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from starcoder_lsp.models.found import FoundModel, find_models
from tests.unit.gguf_files import Tensor, gguf, starcoder2_metadata

DIGEST = "b" * 64
LIST_DIGEST = "c" * 64
MODEL_LAYER = {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{DIGEST}", "size": 1}
OTHER_LAYER = {"mediaType": "application/vnd.ollama.image.license", "digest": f"sha256:{'d' * 64}"}
MANIFEST = {"schemaVersion": 2, "layers": [OTHER_LAYER, MODEL_LAYER]}


@pytest.fixture(scope="module")
def model() -> bytes:
    """Bytes of the smallest usable model file."""
    return gguf(starcoder2_metadata(), [Tensor("token_embd.weight", (8, 7))])


def write(path: Path, data: bytes | dict[str, object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    return path


def only() -> FoundModel:
    (found,) = find_models()
    return found


def test_models_in_the_cache_of_the_hub_are_found(home: Path, model: bytes) -> None:
    cache = home / ".cache" / "huggingface" / "hub"
    blob = write(cache / "models--org--some-repo" / "blobs" / DIGEST, model)
    link = cache / "models--org--some-repo" / "snapshots" / ("a" * 40) / "q4" / "x.gguf"
    link.parent.mkdir(parents=True)
    link.symlink_to(os.path.relpath(blob, link.parent))
    found = only()
    assert (found.path, found.name, found.sha256) == (link, "org/some-repo:q4/x.gguf", DIGEST)
    assert found.place == "Hugging Face cache"


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HF_HOME"])
def test_variables_move_the_cache_of_the_hub(
    variable: str, tmp_path: Path, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    folder = tmp_path / "elsewhere" / ("hub" if variable == "HF_HOME" else "")
    write(folder / "models--o--r" / "snapshots" / ("a" * 40) / "x.gguf", model)
    assert only().name == "o/r:x.gguf"


@pytest.mark.parametrize(
    ("manifest", "listed"),
    [
        (MANIFEST, {}),
        ({"manifests": [{"mediaType": "application/x", "digest": f"sha256:{LIST_DIGEST}"}]}, MANIFEST),
        ({"manifests": [{"layers": [MODEL_LAYER]}]}, {}),
    ],
)
@pytest.mark.parametrize(
    ("registry", "name"), [("registry.ollama.ai/library", "starcoder2:3b"), ("hf.co/org", "hf.co/org/starcoder2:3b")]
)
def test_both_forms_of_ollamas_manifests_are_read(
    home: Path, model: bytes, manifest: dict[str, object], listed: dict[str, object], registry: str, name: str
) -> None:
    store = home / ".ollama" / "models"
    blob = write(store / "blobs" / f"sha256-{DIGEST}", model)
    write(store / "blobs" / f"sha256-{LIST_DIGEST}", listed)
    write(store / "manifests" / registry / "starcoder2" / "3b", manifest)
    found = only()
    assert (found.path, found.name, found.place, found.sha256) == (blob, name, "Ollama", DIGEST)


@pytest.mark.parametrize(
    ("path", "place", "name"),
    [
        (".lmstudio/models/pub/model/x.gguf", "LM Studio", "pub/model/x.gguf"),
        (".cache/lm-studio/models/pub/model/x.gguf", "LM Studio", "pub/model/x.gguf"),
        (".cache/llama.cpp/org_repo_x.gguf", "llama.cpp cache", "org_repo_x.gguf"),
        ("models/x.gguf", "~/models", "x.gguf"),
        ("models/deeper/x-00001-of-00001.gguf", "~/models", "deeper/x-00001-of-00001.gguf"),
    ],
)
def test_models_in_plain_folders_are_found(home: Path, model: bytes, path: str, place: str, name: str) -> None:
    write(home / path, model)
    found = only()
    assert (found.path, found.place, found.name) == (home / path, place, name)


def test_lm_studios_pointer_to_another_folder_is_followed(home: Path, tmp_path: Path, model: bytes) -> None:
    write(home / ".lmstudio-home-pointer", f"{tmp_path}/other\n".encode())
    write(tmp_path / "other" / "models" / "p" / "m" / "x.gguf", model)
    assert only().name == "p/m/x.gguf"


def test_a_file_in_several_places_is_listed_once(home: Path, model: bytes) -> None:
    first = write(home / ".lmstudio" / "models" / "x.gguf", model)
    (home / "models").mkdir()
    (home / "models" / "y.gguf").symlink_to(first)
    assert only().path == first


def broken_link(home: Path) -> None:
    (home / "models").mkdir()
    (home / "models" / "x.gguf").symlink_to(home / "nowhere")


def circle(home: Path) -> None:
    (home / "models").mkdir()
    (home / "models" / "x").symlink_to(home / "models")


def wrong_files(home: Path) -> None:
    for number, data in enumerate((b"", b"GGUF", b"<html>", bytes(100), gguf({"general.architecture": "llama"}, []))):
        write(home / "models" / f"{number}.gguf", data)
    (home / "models" / "folder.gguf").mkdir()


def wrong_manifests(home: Path) -> None:
    values = (b"", b"[]", b'{"layers": 3}', b'{"layers": [3, {"digest": 1}]}', b'{"manifests": [{"digest": "x"}]}')
    outside = json.dumps({"layers": [{**MODEL_LAYER, "digest": "sha256:../../../x"}]}).encode()
    for number, data in enumerate((*values, outside, json.dumps(MANIFEST).encode())):
        write(home / ".ollama" / "models" / "manifests" / "r" / f"m{number}" / "t", data)


def a_file_for_a_folder(home: Path) -> None:
    write(home / ".ollama" / "models", b"")
    write(home / ".lmstudio", b"")
    write(home / "models", b"")


@pytest.mark.parametrize("make", [broken_link, circle, wrong_files, wrong_manifests, a_file_for_a_folder])
def test_files_that_are_no_models_are_ignored(home: Path, make: Callable[[Path], None]) -> None:
    make(home)
    assert find_models() == []
