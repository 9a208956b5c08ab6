"""Parked states on disk: the next process finds them, and damage, limits and restarts change no text."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from starcoder_lsp.engine.engine import Generation, GenerationRequest
from starcoder_lsp.engine.host.ladder import Caution
from starcoder_lsp.engine.loading import DEMONSTRATOR, opened
from starcoder_lsp.engine.local.parking import N_WORTH_PARKING
from starcoder_lsp.engine.local.state_files import DiskSpace, StateFiles, StoredState, model_key
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.settings import CacheSettings, Settings
from tests.local_engine import LocalEngine, chosen_ids, differences
from tests.unit.parked_documents import MIB, answer, body, request_for, run


@pytest.fixture(scope="module")
def uncached(prompts: PromptModel, caution: Caution) -> Iterator[LocalEngine]:
    loaded = LocalEngine.load(prompts, DEMONSTRATOR, caution)
    yield loaded
    loaded.end()


@pytest.fixture
def open_engine(tmp_path: Path, prompts: PromptModel, caution: Caution) -> Iterator[Callable[..., LocalEngine]]:
    """Return a function that ends the last engine and starts a new one, as a restart of the program does."""
    opened: list[LocalEngine] = []

    def start(
        n_parked_bytes: int = 4 * MIB, n_disk_bytes: int = 64 * MIB, folder: Path = tmp_path / "states"
    ) -> LocalEngine:
        if opened:
            opened.pop().end()
        files = StateFiles(DiskSpace(folder, n_disk_bytes), model_key(DEMONSTRATOR))
        opened.append(LocalEngine.load(prompts, DEMONSTRATOR, caution, n_parked_bytes, files))
        return opened[0]

    yield start
    opened.pop().end()


def n_below(folder: Path, pattern: str = "*") -> int:
    return len(list(folder.glob(pattern)))


async def places(engine: LocalEngine) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for cached in await engine.cached():
        found.setdefault(cached.document, set()).add(cached.where)
    return found


async def test_the_next_process_finds_the_state_of_a_closed_document(
    open_engine: Callable[..., LocalEngine], prompts: PromptModel, tmp_path: Path
) -> None:
    engine = open_engine()
    request = request_for(prompts, "doc", body("x"))
    cold = await run(engine, request)
    assert n_below(tmp_path) == 0
    engine.persist("doc")
    assert await places(engine) == {"doc": {"device", "disk"}}
    engine = open_engine()
    assert await places(engine) == {"doc": {"disk"}}
    back = await run(engine, request)
    assert back.n_evaluated == 1
    assert back.written[0].text == cold.written[0].text
    assert await places(engine) == {"doc": {"device", "disk"}}


async def test_the_next_process_finds_the_states_of_all_documents(
    open_engine: Callable[..., LocalEngine], prompts: PromptModel
) -> None:
    engine = open_engine()
    requests = [request_for(prompts, name, body(name)) for name in ("a", "b", "c")]
    cold = [(await run(engine, request)).written[0].text for request in requests]
    engine = open_engine()
    assert [cached.document for cached in await engine.cached()] == ["c", "b", "a"]
    for request, text in zip(requests, cold, strict=True):
        back = await run(engine, request)
        assert (back.n_evaluated, back.written[0].text) == (1, text)


@pytest.mark.parametrize("disk_mib", [0, 1])
async def test_states_are_written_to_disk_only_if_the_setting_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk_mib: int
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    async with opened(Settings(cache=CacheSettings(disk_mib=disk_mib))) as (prompts, engine):
        request = request_for(prompts, "doc", body("x"))
        await answer(engine, prompts, request)
        engine.persist("doc")
        await engine.score(request.prompt, ())  # returns once the model thread has written the file
        assert n_below(tmp_path, "starcoder-lsp/states/*.kv") == disk_mib


async def test_closing_a_document_writes_its_state_only(
    open_engine: Callable[..., LocalEngine], prompts: PromptModel
) -> None:
    engine = open_engine()
    for name in ("a", "b", "c"):
        await run(engine, request_for(prompts, name, body(name)))
    engine.persist("a")
    engine.persist("unknown")
    assert await places(engine) == {"a": {"ram", "disk"}, "b": {"ram"}, "c": {"device"}}
    await engine.forget()
    assert await places(engine) == {}


async def test_forget_drops_the_states_of_clients_that_have_left(
    open_engine: Callable[..., LocalEngine], prompts: PromptModel
) -> None:
    engine = open_engine()
    before, other = engine.beside("before"), engine.beside("other")
    await run(other, request_for(prompts, "b", body("b")))
    for name in ("a", "b"):
        await run(before, request_for(prompts, name, body(name)))
    engine.worker.leave("before")
    assert {name for name, where in (await places(engine)).items() if "disk" in where} == {"a", "b"}
    await engine.forget()
    assert await places(engine) == {"b": {"disk"}}
    assert "before" not in {state.owner.client for state in engine.worker.sequences.states}
    assert (await run(other, request_for(prompts, "b", body("b")))).n_evaluated <= 1


async def test_a_state_of_few_tokens_is_not_written(
    open_engine: Callable[..., LocalEngine], prompts: PromptModel
) -> None:
    engine = open_engine()
    await run(engine, request_for(prompts, "doc", b"x = 1\n"))
    engine.persist("doc")
    assert await places(engine) == {"doc": {"device"}}


async def test_states_that_do_not_fit_memory_are_written_to_disk(
    open_engine: Callable[..., LocalEngine], prompts: PromptModel
) -> None:
    engine = open_engine(n_parked_bytes=0)
    first, second = request_for(prompts, "first", body("a")), request_for(prompts, "second", body("b"))
    text = (await run(engine, first)).written[0].text
    await run(engine, second)
    assert await places(engine) == {"first": {"disk"}, "second": {"device"}}
    back = await run(engine, first)
    assert (back.n_evaluated, back.written[0].text) == (1, text)


async def test_nothing_is_written_if_the_limit_is_below_one_state(
    open_engine: Callable[..., LocalEngine], prompts: PromptModel
) -> None:
    engine = open_engine(n_parked_bytes=0, n_disk_bytes=1000)
    first = request_for(prompts, "first", body("a"))
    text = (await run(engine, first)).written[0].text
    await run(engine, request_for(prompts, "second", body("b")))
    engine.persist("first")
    assert await places(engine) == {"second": {"device"}}
    assert (await run(engine, first)).written[0].text == text


async def test_requests_are_answered_if_the_folder_cannot_be_made(
    open_engine: Callable[..., LocalEngine], prompts: PromptModel, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    engine = open_engine(n_parked_bytes=0, folder=tmp_path / "file" / "states")
    await run(engine, request_for(prompts, "first", body("a")))
    engine.persist("first")
    await run(engine, request_for(prompts, "second", body("b")))
    assert await places(engine) == {"second": {"device"}}


async def test_at_the_end_the_most_recently_used_states_are_written(
    open_engine: Callable[..., LocalEngine], prompts: PromptModel
) -> None:
    engine = open_engine(n_disk_bytes=5 * MIB // 2)
    for name in ("a", "b", "c", "d"):
        await run(engine, request_for(prompts, name, body(name, 25)))
    assert [cached.document for cached in await open_engine().cached()] == ["d", "c"]


async def test_writing_at_the_end_stops_after_a_second(
    open_engine: Callable[..., LocalEngine], prompts: PromptModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine()
    for name in ("a", "b", "c", "d"):
        await run(engine, request_for(prompts, name, body(name)))
    with monkeypatch.context() as patch:
        seconds = iter(range(100))
        patch.setattr("starcoder_lsp.engine.local.parking.time.monotonic", lambda: next(seconds) * 0.4)
        engine = open_engine()
    assert [cached.document for cached in await engine.cached()] == ["d", "c"]


DAMAGES: dict[str, Callable[[Path], object]] = {
    **{
        f"a bit of the {region}": lambda path, share=share: flip(path, share)
        for region, share in [("magic", 0), ("key", 10), ("length", 44), ("name", 56), ("ids", 80), ("state", 5000)]
    },
    "the checksum": lambda path: flip(path, path.stat().st_size - 1),
    "cut off": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "longer": lambda path: path.open("ab").write(b"x"),
    "gone": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "another's state": lambda path: path.write_bytes(max(path.parent.iterdir(), key=lambda p: p != path).read_bytes()),
}


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("when", ["while it runs", "between two runs"])
@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_file_costs_time_and_nothing_else(
    open_engine: Callable[..., LocalEngine], prompts: PromptModel, tmp_path: Path, damage: str, when: str
) -> None:
    engine = open_engine(n_parked_bytes=0)
    request, other = request_for(prompts, "doc", body("x")), request_for(prompts, "two", body("y"))
    text = (await run(engine, request)).written[0].text
    await run(engine, other)
    (path,) = (tmp_path / "states").iterdir()
    engine.persist("two")
    await engine.settled()
    DAMAGES[damage](path)
    if when == "between two runs":
        engine = open_engine(n_parked_bytes=0)
    again = await run(engine, request)
    assert again.n_reused < 5  # the beginning of every file
    assert again.written[0].text == text
    assert (await run(engine, other)).n_evaluated == 1


class Uncached:
    """Answers of an engine whose cache is emptied before each request; equal requests run once."""

    def __init__(self, engine: LocalEngine) -> None:
        self._engine = engine
        self._answers: dict[tuple[int, ...], Generation] = {}

    async def __call__(self, request: GenerationRequest) -> Generation:
        if request.prompt.ids not in self._answers:
            await self._engine.forget()
            self._answers[request.prompt.ids] = await run(self._engine, request)
        return self._answers[request.prompt.ids]


def files_by_age(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("*.kv") if path.is_file()), key=lambda path: path.stat().st_mtime_ns)


def next_text(rng: random.Random, kind: str, seen: list[bytes]) -> bytes:
    """Return the document's next text: an earlier one, other lines of it, or one with text added at the end."""
    text = seen[-1]
    if kind == "return":
        return rng.choice(seen)
    if kind == "jump":
        at = rng.randrange(len(text))
        return text[at:] + b"y = 2\n" + text[:at]
    return text[-450:] + rng.choice([b"x", b" = ", b"self.", b"\n", b"return ", b"(", b")"])


@pytest.mark.timeout(300)  # 80 s on a busy machine
async def test_parking_changes_time_and_not_meaning(
    open_engine: Callable[..., LocalEngine],
    uncached: LocalEngine,
    prompts: PromptModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In 1,000 random steps over four documents each answer equals the uncached one, and records equal cells.

    Steps are edits, jumps, returns, cancels, closed documents, restarts and damaged files. Memory holds two or three
    states, and the disk a few more, so states move to disk, back, and are dropped.
    """
    counts: Counter[str] = Counter()

    def read(files: StateFiles, stored: StoredState) -> memoryview | None:
        state = read_file(files, stored)
        counts["from disk" if state is not None else "damaged"] += 1
        return state

    read_file = StateFiles.read
    monkeypatch.setattr(StateFiles, "read", read)
    rng = random.Random(3)
    sizes = {"n_parked_bytes": 600_000, "n_disk_bytes": 1_500_000}
    engine, folder, uncached_answer = open_engine(**sizes), tmp_path / "states", Uncached(uncached)
    seen = {name: [body(name, 5)] for name in ("a", "b", "c", "d")}
    document = "a"
    weights = {"type": 40, "jump": 8, "return": 25, "cancel": 8, "close": 6, "restart": 2, "damage": 8, "forget": 1}
    for _ in range(1000):
        document = rng.choice([document, *seen])
        kind = rng.choices(list(weights), list(weights.values()))[0]
        counts[kind] += 1
        if kind == "close":
            engine.persist(document)
        elif kind == "restart":
            engine = open_engine(**sizes)
        elif kind == "forget":
            await engine.forget()
        elif kind == "damage":
            for path in rng.sample(files_by_age(folder), min(1, len(files_by_age(folder)))):
                DAMAGES[rng.choice(["a bit of the state", "a bit of the ids", "cut off", "gone", "a folder"])](path)
        else:
            seen[document] = [*seen[document][-5:], next_text(rng, kind, seen[document])]
            request = request_for(prompts, document, seen[document][-1])
            if kind == "cancel":
                await run(engine, request, cancel_after=rng.randrange(4))
            else:
                got, wanted = await run(engine, request), await uncached_answer(request)
                (mine,), (theirs,) = got.written, wanted.written
                n_same = len(differences(mine, theirs))
                assert mine.ids == theirs.ids or n_same < min(len(chosen_ids(mine)), len(chosen_ids(theirs)))
                counts["same tokens"] += n_same
                counts["reused"] += got.n_reused > N_WORTH_PARKING
        await engine.settled()
        engine.check_cells()
        assert sum(path.stat().st_size for path in files_by_age(folder)) <= sizes["n_disk_bytes"]
    assert counts["reused"] > 300
    assert counts["from disk"] > 80
    assert counts["damaged"] > 8
    assert counts["same tokens"] > 1500
