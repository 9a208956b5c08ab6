"""Parked states: which are kept, and that coming back costs nothing and changes nothing."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve

from starcoder_lsp.engine.engine import Engine, Generation, GenerationRequest
from starcoder_lsp.engine.fim import FimFormat, format_for
from starcoder_lsp.engine.llama import LlamaEngine, load
from starcoder_lsp.engine.loading import DEMONSTRATOR, load_engine
from starcoder_lsp.engine.parking import N_WORTH_PARKING, ParkedState, ParkedStates
from starcoder_lsp.engine.state_files import DiskSpace, StateFiles, StoredState
from starcoder_lsp.settings import CacheSettings, Settings

MIB = 1024 * 1024


def state(document: str, ids: tuple[int, ...], n_bytes: int = 10) -> ParkedState:
    return ParkedState(document, ids, memoryview(bytearray(n_bytes)))


def test_the_least_recently_used_goes_first() -> None:
    states = ParkedStates(25)
    a, b, c = state("a", (1,)), state("b", (2,)), state("c", (3,))
    for parked in (a, b, c):
        states.add(parked)
    assert list(states) == [c, b]


def test_a_copy_that_a_newer_one_continues_is_dropped() -> None:
    states = ParkedStates(100)
    states.add(state("a", (1, 2)))
    states.add(state("b", (1, 2)))
    states.add(state("a", (5, 6)))
    longer = state("a", (1, 2, 3))
    states.add(longer)
    assert [parked.document for parked in states] == ["a", "a", "b"]
    assert states.best((1, 2, 3, 4)) == (longer, 3)


def test_a_copy_over_the_limit_is_not_kept() -> None:
    states = ParkedStates(9)
    states.add(state("a", (1,)))
    assert list(states) == []
    assert states.best((1,)) == (None, 0)


def test_forget_and_take() -> None:
    states = ParkedStates(100)
    a, b = state("a", (1,)), state("b", (2,))
    states.add(a)
    states.add(b)
    states.take(b)
    states.take(b)
    states.forget("a")
    assert list(states) == []


# With the real model


@pytest.fixture(scope="module")
def parking() -> Iterator[LlamaEngine]:
    loaded = load(DEMONSTRATOR, n_context=2048, n_gpu_layers=0, n_threads=1, n_parked_bytes=4 * MIB)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def uncached() -> Iterator[LlamaEngine]:
    loaded = load(DEMONSTRATOR, n_context=2048, n_gpu_layers=0, n_threads=1)
    yield loaded
    loaded.close()


@pytest.fixture
def fim(parking: LlamaEngine) -> FimFormat:
    return format_for(parking.info.architecture, parking.tokenizer)


def asked(engine: Engine, fim: FimFormat, document: str, text: bytes) -> GenerationRequest:
    prompt = fim.psm(engine.tokenizer.encode(text), engine.tokenizer.encode(b"\n\nx = 1\n"))
    return GenerationRequest(document, prompt, max_new_tokens=3, timeout_ms=60_000)


def run(engine: LlamaEngine, request: GenerationRequest, cancel_after: int | None = None) -> Generation:
    looks: list[int] = []

    def cancelled() -> bool:
        looks.append(1)
        return cancel_after is not None and len(looks) > cancel_after

    generation = engine.generate(request, lambda _text: None, cancelled)
    engine.check_ledger()
    return generation


def body(name: str, n_functions: int = 20) -> bytes:
    return "".join(f"def {name}_{i}(x):\n    return x + {i}\n\n\n" for i in range(n_functions)).encode()


def test_coming_back_to_a_document_evaluates_one_token(parking: LlamaEngine, fim: FimFormat) -> None:
    first, second = asked(parking, fim, "first", body("a")), asked(parking, fim, "second", body("b"))
    cold = run(parking, first)
    assert cold.n_reused == 0
    run(parking, second)
    where = {cached.document: cached.where for cached in parking.cached()}
    assert where == {"first": "ram", "second": "device"}
    back = run(parking, first)
    assert back.n_evaluated == 1
    assert back.written[0].text == cold.written[0].text
    assert run(parking, second).n_evaluated == 1


def test_coming_back_to_a_place_in_a_document_too(parking: LlamaEngine, fim: FimFormat) -> None:
    here, there = asked(parking, fim, "doc", body("here")), asked(parking, fim, "doc", body("there"))
    run(parking, here)
    run(parking, there)
    assert run(parking, here).n_evaluated == 1
    parking.forget("doc")
    assert run(parking, here).n_reused == 0


def test_without_memory_for_copies_nothing_is_lost_but_time(
    parking: LlamaEngine, fim: FimFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = asked(parking, fim, "no memory", body("m"))
    wanted = run(parking, first).written[0].text
    monkeypatch.setattr(parking._context, "save", lambda _sequence: None)
    run(parking, asked(parking, fim, "other", body("o")))
    assert run(parking, first).written[0].text == wanted


def test_a_copy_that_cannot_be_restored_is_evaluated_again(
    parking: LlamaEngine, fim: FimFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = asked(parking, fim, "damaged", body("d"))
    wanted = run(parking, first).written[0].text
    run(parking, asked(parking, fim, "other", body("p")))
    monkeypatch.setattr(parking._context, "restore", lambda _sequence, _state: False)
    again = run(parking, first)
    assert again.n_reused == 0
    assert again.written[0].text == wanted


# On disk


@pytest.fixture
def open_engine(tmp_path: Path) -> Iterator[Callable[..., LlamaEngine]]:
    """Makes engines, each in place of the one before: a start of the program after its end."""
    opened: list[LlamaEngine] = []

    def start(
        n_parked_bytes: int = 4 * MIB, n_disk_bytes: int = 64 * MIB, folder: Path = tmp_path / "states"
    ) -> LlamaEngine:
        if opened:
            opened.pop().close()
        space = DiskSpace(folder, n_disk_bytes)
        opened.append(
            load(DEMONSTRATOR, n_context=2048, n_gpu_layers=0, n_threads=1, n_parked_bytes=n_parked_bytes, disk=space)
        )
        return opened[0]

    yield start
    opened.pop().close()


def where(engine: LlamaEngine) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for cached in engine.cached():
        found.setdefault(cached.document, set()).add(cached.where)
    return found


def test_a_closed_document_is_found_by_the_next_process(
    open_engine: Callable[..., LlamaEngine], fim: FimFormat, tmp_path: Path
) -> None:
    engine = open_engine()
    request = asked(engine, fim, "doc", body("x"))
    cold = run(engine, request)
    assert list(tmp_path.iterdir()) == []
    engine.put_away("doc")
    assert where(engine) == {"doc": {"device", "disk"}}
    engine = open_engine()
    assert where(engine) == {"doc": {"disk"}}
    back = run(engine, request)
    assert back.n_evaluated == 1
    assert back.written[0].text == cold.written[0].text
    assert where(engine) == {"doc": {"device", "disk"}}


def test_what_is_held_at_the_end_is_found_by_the_next_process(
    open_engine: Callable[..., LlamaEngine], fim: FimFormat
) -> None:
    engine = open_engine()
    requests = [asked(engine, fim, name, body(name)) for name in ("a", "b", "c")]
    cold = [run(engine, request).written[0].text for request in requests]
    engine = open_engine()
    assert [cached.document for cached in engine.cached()] == ["c", "b", "a"]
    for request, text in zip(requests, cold, strict=True):
        back = run(engine, request)
        assert (back.n_evaluated, back.written[0].text) == (1, text)


@pytest.mark.parametrize("disk_mib", [0, 1])
def test_the_setting_says_whether_states_go_to_disk(
    fim: FimFormat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk_mib: int
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name, **_named: tmp_path / name)
    engine = load_engine(Settings(cache=CacheSettings(disk_mib=disk_mib)), lambda _share: None)
    engine.generate(asked(engine, fim, "doc", body("x")), lambda _text: None, lambda: False)
    engine.put_away("doc")
    engine.close()
    assert len(list(tmp_path.glob("starcoder-lsp/states/*.kv"))) == disk_mib


def test_closing_a_document_writes_no_other(open_engine: Callable[..., LlamaEngine], fim: FimFormat) -> None:
    engine = open_engine()
    for name in ("a", "b", "c"):
        run(engine, asked(engine, fim, name, body(name)))
    engine.put_away("a")
    engine.put_away("unknown")
    assert where(engine) == {"a": {"ram", "disk"}, "b": {"ram"}, "c": {"device"}}
    engine.forget("a")
    assert where(engine) == {"b": {"ram"}, "c": {"device"}}


def test_a_few_tokens_are_not_written(open_engine: Callable[..., LlamaEngine], fim: FimFormat) -> None:
    engine = open_engine()
    run(engine, asked(engine, fim, "doc", b"x = 1\n"))
    engine.put_away("doc")
    assert where(engine) == {"doc": {"device"}}


def test_what_memory_has_no_room_for_goes_to_disk(open_engine: Callable[..., LlamaEngine], fim: FimFormat) -> None:
    engine = open_engine(n_parked_bytes=0)
    first, second = asked(engine, fim, "first", body("a")), asked(engine, fim, "second", body("b"))
    text = run(engine, first).written[0].text
    run(engine, second)
    assert where(engine) == {"first": {"disk"}, "second": {"device"}}
    back = run(engine, first)
    assert (back.n_evaluated, back.written[0].text) == (1, text)


def test_a_disk_too_small_for_one_state(open_engine: Callable[..., LlamaEngine], fim: FimFormat) -> None:
    engine = open_engine(n_parked_bytes=0, n_disk_bytes=1000)
    first = asked(engine, fim, "first", body("a"))
    text = run(engine, first).written[0].text
    run(engine, asked(engine, fim, "second", body("b")))
    engine.put_away("first")
    assert where(engine) == {"second": {"device"}}
    assert run(engine, first).written[0].text == text


def test_a_folder_that_cannot_be_made(open_engine: Callable[..., LlamaEngine], fim: FimFormat, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    engine = open_engine(n_parked_bytes=0, folder=tmp_path / "file" / "states")
    run(engine, asked(engine, fim, "first", body("a")))
    engine.put_away("first")
    run(engine, asked(engine, fim, "second", body("b")))
    assert where(engine) == {"second": {"device"}}


def test_at_the_end_the_last_used_are_kept(open_engine: Callable[..., LlamaEngine], fim: FimFormat) -> None:
    engine = open_engine(n_disk_bytes=2 * MIB)
    for name in ("a", "b", "c", "d"):
        run(engine, asked(engine, fim, name, body(name, 25)))
    assert [cached.document for cached in open_engine().cached()] == ["d", "c"]


def test_writing_at_the_end_takes_a_second_at_most(
    open_engine: Callable[..., LlamaEngine], fim: FimFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine()
    for name in ("a", "b", "c", "d"):
        run(engine, asked(engine, fim, name, body(name)))
    with monkeypatch.context() as patch:
        seconds = iter(range(100))
        patch.setattr("starcoder_lsp.engine.parking.time.monotonic", lambda: next(seconds) * 0.4)
        engine = open_engine()
    assert [cached.document for cached in engine.cached()] == ["d", "c"]


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
def test_a_damaged_file_costs_time_and_nothing_else(
    open_engine: Callable[..., LlamaEngine], fim: FimFormat, tmp_path: Path, damage: str, when: str
) -> None:
    engine = open_engine(n_parked_bytes=0)
    request, other = asked(engine, fim, "doc", body("x")), asked(engine, fim, "two", body("y"))
    text = run(engine, request).written[0].text
    run(engine, other)
    (path,) = (tmp_path / "states").iterdir()
    engine.put_away("two")
    DAMAGES[damage](path)
    if when == "between two runs":
        engine = open_engine(n_parked_bytes=0)
    again = run(engine, request)
    assert again.n_reused < 5  # how any file begins
    assert again.written[0].text == text
    assert run(engine, other).n_evaluated == 1


class Uncached:
    """The answers of an engine that forgets before each question, each question asked once."""

    def __init__(self, engine: LlamaEngine) -> None:
        self._engine = engine
        self._answers: dict[tuple[int, ...], Generation] = {}

    def __call__(self, request: GenerationRequest) -> Generation:
        if request.prompt.ids not in self._answers:
            self._engine.forget("uncached")
            self._answers[request.prompt.ids] = run(self._engine, evolve(request, document="uncached"))
        return self._answers[request.prompt.ids]


def is_same_or_a_tie(got: Generation, wanted: Generation) -> bool:
    """Whether answers part, if at all, where two candidates are equally likely; see test_generation."""
    if got.written[0].ids == wanted.written[0].ids:
        return True
    pairs = zip(got.written[0].ids, wanted.written[0].ids, strict=False)
    at = next((i for i, (mine, theirs) in enumerate(pairs) if mine != theirs), None)
    return at is not None and got.written[0].logprobs[at] == pytest.approx(wanted.written[0].logprobs[at], abs=0.05)


def files_by_age(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("*.kv") if path.is_file()), key=lambda path: path.stat().st_mtime_ns)


def next_text(rng: random.Random, kind: str, seen: list[bytes]) -> bytes:
    """The document after a step: as it was at some time, other lines of it, or with something written at the end."""
    text = seen[-1]
    if kind == "return":
        return rng.choice(seen)
    if kind == "jump":
        at = rng.randrange(len(text))
        return text[at:] + b"y = 2\n" + text[:at]
    return text[-450:] + rng.choice([b"x", b" = ", b"self.", b"\n", b"return ", b"(", b")"])


def test_parking_changes_time_and_not_meaning(
    open_engine: Callable[..., LlamaEngine],
    uncached: LlamaEngine,
    fim: FimFormat,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """1,000 random steps over four documents: each answer is the uncached one, and the ledger is right after each.

    Edits, jumps and returns, cancels, closed documents, ends and starts of the program, damaged files; memory for two
    or three states and disk for a few more, so that states move to disk, come back and go away.
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
    engine, folder, answer = open_engine(**sizes), tmp_path / "states", Uncached(uncached)
    seen = {name: [body(name, 5)] for name in ("a", "b", "c", "d")}
    document = "a"
    weights = {"type": 40, "jump": 8, "return": 25, "cancel": 8, "close": 6, "restart": 2, "damage": 8, "forget": 1}
    for _ in range(1000):
        document = rng.choice([document, *seen])
        kind = rng.choices(list(weights), list(weights.values()))[0]
        counts[kind] += 1
        if kind == "close":
            engine.put_away(document)
        elif kind == "restart":
            engine = open_engine(**sizes)
        elif kind == "forget":
            engine.forget(document)
        elif kind == "damage":
            for path in rng.sample(files_by_age(folder), min(1, len(files_by_age(folder)))):
                DAMAGES[rng.choice(["a bit of the state", "a bit of the ids", "cut off", "gone", "a folder"])](path)
        else:
            seen[document] = [*seen[document][-5:], next_text(rng, kind, seen[document])]
            request = asked(engine, fim, document, seen[document][-1])
            if kind == "cancel":
                run(engine, request, cancel_after=rng.randrange(4))
            else:
                got, wanted = run(engine, request), answer(request)
                assert is_same_or_a_tie(got, wanted)
                counts["ties"] += got.written[0].ids != wanted.written[0].ids
                counts["reused"] += got.n_reused > N_WORTH_PARKING
        engine.check_ledger()
        assert sum(path.stat().st_size for path in files_by_age(folder)) <= sizes["n_disk_bytes"]
    assert counts["reused"] > 300
    assert counts["from disk"] > 80
    assert counts["damaged"] > 8
    assert counts["ties"] < 20
