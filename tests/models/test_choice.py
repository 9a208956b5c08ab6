"""The model chosen by the settings, the recommendation, and the catalogue."""

from __future__ import annotations

import asyncio
import os
import tomllib
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.models.advice import KV_BYTES, Machine, n_memory_bytes_of, recommend, tokens_per_second
from starcoder_lsp.models.bandwidth import bandwidth
from starcoder_lsp.models.catalogue import Source, entries, licences, parse_source
from starcoder_lsp.models.chosen import ModelNotHereError, choose, is_demonstrator, with_path
from starcoder_lsp.models.errors import ModelsError
from starcoder_lsp.models.licence import licence_of
from starcoder_lsp.models.pull import Puller, Wanted
from starcoder_lsp.models.store import in_hub_cache
from starcoder_lsp.settings import Settings
from tests.hub import COMMIT, FakeHub
from tests.models.conftest import FILE, REPOSITORY

GB = 10**9
NAMES = ("starcoder2-3b", "starcoder2-7b", "starcoder2-15b", "starcoder")


def named(name: str, path: str = "") -> Settings:
    return evolve(Settings(), model=evolve(Settings().model, name=name, path=path))


def test_every_entry_is_complete() -> None:
    assert set(NAMES) <= set(entries())
    for entry in entries().values():
        assert parse_source(f"{entry.source.repository}@{entry.source.revision}:{entry.source.file}") == entry.source
        assert entry.sha256 == "" or len(bytes.fromhex(entry.sha256)) == 32
        assert entry.source.is_pinned or not entry.sha256, "a branch can change, so its sha256 means nothing"
        assert entry.shape in KV_BYTES
        assert entry.n_bytes > GB
        assert entry.good_for
    for licence in licences().values():
        assert len(licence.asks) == 5
        assert licence.url.startswith("https://")


@pytest.mark.parametrize(("key", "is_known"), [("Apache-2.0", True), ("", False), ("odd", False)])
def test_each_licence_has_five_lines(key: str, is_known: bool) -> None:  # noqa: FBT001
    licence = licence_of(key, "o/r", "https://hub")
    assert len(licence.asks) == 5
    assert (licence.key in licences()) == is_known


def test_a_name_leads_to_the_pulled_file(puller: Puller, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = evolve(entries()["starcoder2-3b"], source=Source(REPOSITORY, "main", FILE), sha256="")
    monkeypatch.setitem(entries(), "starcoder2-3b", entry)
    settings = named("starcoder2-3b")
    with pytest.raises(ModelNotHereError, match="models pull starcoder2-3b"):
        with_path(settings, puller.store)
    plan = asyncio.run(puller.plan(Wanted(entry.source, entry)))
    model = asyncio.run(puller.pull(plan))
    assert with_path(settings, puller.store).model.path == str(model.path)
    assert with_path(named("starcoder2-3b", "/x"), puller.store).model.path == "/x"
    assert with_path(Settings()) == Settings()
    with pytest.raises(ModelsError, match="not a model of the catalogue"):
        with_path(named("other"))


def test_a_file_in_the_cache_of_huggingface_hub_is_used(home: Path, hub: FakeHub) -> None:
    folder = home / ".cache" / "huggingface" / "hub" / f"models--{REPOSITORY.replace('/', '--')}"
    file = folder / "snapshots" / COMMIT / FILE
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    assert in_hub_cache(Source(REPOSITORY, COMMIT, FILE)) == file
    assert in_hub_cache(Source(REPOSITORY, "main", FILE)) is None
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    assert in_hub_cache(Source(REPOSITORY, "main", FILE)) == file
    assert not hub.seen


@pytest.mark.parametrize("mode", [0o000, 0o600])
def test_a_cache_that_may_not_be_read_has_no_model(home: Path, mode: int) -> None:
    snapshot = home / ".cache" / "huggingface" / "hub" / f"models--{REPOSITORY.replace('/', '--')}" / "snapshots"
    (snapshot / COMMIT).mkdir(parents=True)
    (snapshot / COMMIT / FILE).write_bytes(b"x")
    snapshot.chmod(mode)
    try:
        if os.access(snapshot, os.X_OK):
            pytest.skip("root may read everywhere")
        assert in_hub_cache(Source(REPOSITORY, COMMIT, FILE)) is None
    finally:
        snapshot.chmod(0o700)


def test_a_cache_whose_name_is_too_long_has_no_model(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(home / ("a" * 300)))
    assert in_hub_cache(Source(REPOSITORY, COMMIT, FILE)) is None
    assert in_hub_cache(Source(REPOSITORY, "main", FILE)) is None


def test_without_a_choice_the_demonstrator_is_used() -> None:
    assert is_demonstrator(Settings())
    assert not is_demonstrator(named("x"))
    assert not is_demonstrator(named("", "x"))


@given(
    before=st.sampled_from(
        ["", "# mine\n", "[model]\nthreads = 3 # few\n", "[cache]\nramMiB = 1\n", "model.threads=2\n"]
    ),
    line_end=st.sampled_from(["\n", "\r\n"]),
    name=st.sampled_from(["", "starcoder2-3b"]),
    path=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
)
def test_a_choice_changes_two_keys_of_the_settings_file_only(
    tmp_path_factory: pytest.TempPathFactory, before: str, line_end: str, name: str, path: str
) -> None:
    file = tmp_path_factory.mktemp("settings") / "deep" / "starcoder-lsp.toml"
    if before:
        file.parent.mkdir()
        file.write_text(before, newline=line_end)
    choose(file, name=name, path=path)
    if before:
        assert "\n" not in file.read_bytes().decode().replace(line_end, "")
    read = tomllib.loads(file.read_text("utf-8"))
    assert (read["model"].pop("name", ""), read["model"].pop("path", "")) == (name, path)
    was = tomllib.loads(before)
    assert read == {**was, "model": was.get("model", {})}
    assert all(line in file.read_text() for line in before.splitlines() if line.startswith("#"))
    choose(file, name="", path="")
    assert [each.name for each in file.parent.iterdir()] == [file.name]


def test_a_link_to_the_settings_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "dotfiles.toml").write_text("")
    (tmp_path / "link.toml").symlink_to(tmp_path / "dotfiles.toml")
    choose(tmp_path / "link.toml", name="x")
    assert (tmp_path / "link.toml").is_symlink()
    assert 'name = "x"' in (tmp_path / "dotfiles.toml").read_text()


@pytest.mark.parametrize(
    ("machine", "name", "words"),
    [
        (Machine(20 * GB, 16 * GB), "starcoder2-3b", "7B would be slow"),
        (Machine(200 * GB, 32 * GB), "starcoder2-7b", "are enough"),
        (Machine(200 * GB, 8 * GB), "starcoder2-3b", "more than half of the memory"),
        (Machine(5 * GB, 16 * GB), "starcoder2-3b", "a GPU or a server would help"),
        (Machine(20 * GB, 2 * GB), "starcoder2-3b", "and there are 2.0 GB"),
        (Machine(20 * GB, 16 * GB, 24 * GB), "starcoder2-7b", "of the GPU's 24.0 GB"),
        (Machine(20 * GB, 16 * GB, 4 * GB), "starcoder2-3b", "of the GPU's 4.0 GB"),
        (Machine(20 * GB, None), "starcoder2-3b", "tokens a second"),
    ],
)
def test_a_recommendation_gives_its_reason(machine: Machine, name: str, words: str) -> None:
    advice = recommend(machine)
    assert advice.entry.name == name
    assert words in advice.why


@given(
    n_bytes=st.integers(10**6, 10**11),
    n_kv_bytes=st.integers(1, 10**5),
    speed=st.floats(1e9, 1e12),
)
def test_more_bytes_are_slower_and_take_more_memory(n_bytes: int, n_kv_bytes: int, speed: float) -> None:
    assert tokens_per_second(2 * n_bytes, n_kv_bytes, speed) < tokens_per_second(n_bytes, n_kv_bytes, speed)
    assert n_memory_bytes_of(n_bytes, n_kv_bytes) > n_bytes


def test_bandwidth_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bandwidth.json"
    first = bandwidth(path)
    assert first > 0
    monkeypatch.setattr("starcoder_lsp.models.bandwidth.measure", lambda _n: pytest.fail("it is measured again"))
    assert bandwidth(path) == first
    for broken in (b"", b"{}", b'{"x": 3}', path.read_bytes().replace(b"20", b"x")):
        path.write_bytes(broken)
        with pytest.raises(pytest.fail.Exception):
            bandwidth(path)
