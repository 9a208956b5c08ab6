"""Downloads from a fake hub: every way in which they can fail, and the files on disk afterwards."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from starcoder_lsp.models import catalogue
from starcoder_lsp.models.catalogue import Source
from starcoder_lsp.models.environment import Environment
from starcoder_lsp.models.errors import ModelsError
from starcoder_lsp.models.pull import Plan, Puller, Wanted, part_names, remove
from starcoder_lsp.models.store import Store, StoredModel
from tests.hub import COMMIT, FakeHub, Fault, serving
from tests.models.conftest import FILE, N_BYTES, QUICK, REPOSITORY, SPELLED

SIZE = N_BYTES


def pull(puller: Puller, spelled: str = SPELLED) -> StoredModel:
    async def both() -> StoredModel:
        return await puller.pull(await puller.plan(Wanted.of(spelled)))

    return asyncio.run(both())


def failure(puller: Puller, spelled: str = SPELLED) -> str:
    with pytest.raises(ModelsError) as raised:
        pull(puller, spelled)
    message = str(raised.value)
    assert "\n" not in message
    return message


def left_over(puller: Puller) -> int:
    """Return the bytes of the part that a failed download left."""
    parts = list(puller.store.folder.rglob("*.part"))
    assert not list(puller.store.folder.rglob("*.gguf"))
    return parts[0].stat().st_size if parts else 0


def check_right(puller: Puller, model: StoredModel, content: bytes) -> None:
    assert model.path.read_bytes() == content
    assert model.manifest.files[0].sha256 == sha256(content).hexdigest()
    assert puller.store.find(Source(REPOSITORY, "main", FILE)) == model
    names = {path.name.removeprefix(".").removesuffix(".lock") for path in model.path.parent.iterdir()}
    assert names == {model.path.name, f"{model.path.name}.json"}


def test_a_model_is_pulled_at_the_commit_that_the_hub_states(puller: Puller, hub: FakeHub, content: bytes) -> None:
    model = pull(puller)
    check_right(puller, model, content)
    assert model.manifest.revision == COMMIT
    assert model.manifest.licence == "bigcode-openrail-m"
    assert all(COMMIT in each.path for each in hub.requests("hub", "GET")[1:])
    n_before = len(hub.seen)
    assert pull(puller) == model
    assert len(hub.seen) == n_before, "a model that is here needs no network"


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, SIZE - 1), min_size=1, max_size=5).map(sorted))
def test_a_download_continues_where_its_connection_was_cut(
    puller: Puller, hub: FakeHub, content: bytes, cuts: list[int]
) -> None:
    hub.seen.clear()
    hub.faults.extend(Fault(cut_at=cut) for cut in cuts)
    patient = evolve(puller, patience=evolve(QUICK, max_failures=len(cuts) + 1))
    model = pull(patient)
    check_right(puller, model, content)
    starts = [int(each.removeprefix("bytes=").rstrip("-") or 0) for each in hub.ranges()]
    assert starts == [0, *cuts], "each request asks for exactly what has not come yet"
    remove(model)
    assert not model.path.exists()


def test_a_download_that_keeps_failing_ends_and_keeps_its_part(puller: Puller, hub: FakeHub) -> None:
    hub.faults.extend([Fault(cut_at=1000), *[Fault(status=503)] * 3])
    assert "1,000 of" in failure(puller)
    assert left_over(puller) == 1000


@pytest.mark.parametrize("fault", [Fault(status=429, retry_after="0"), Fault(status=500), Fault(cut_at=0)])
def test_temporary_faults_are_tried_again(puller: Puller, hub: FakeHub, content: bytes, fault: Fault) -> None:
    hub.faults.extend([fault, fault])
    check_right(puller, pull(puller), content)


def test_a_hub_that_is_busy_before_the_download_is_named(puller: Puller, hub: FakeHub) -> None:
    hub.hub_faults.extend([Fault(status=429)] * 9)
    assert "429" in failure(puller)


def test_wrong_bytes_of_the_right_size_are_refused_and_deleted(puller: Puller, hub: FakeHub) -> None:
    hub.faults.append(Fault(corrupt_at=SIZE // 2))
    message = failure(puller)
    assert hub.sha256(REPOSITORY, FILE) in message
    assert left_over(puller) == 0
    assert len(hub.requests("bytes")) == 1


def test_a_part_with_wrong_bytes_is_downloaded_again(puller: Puller, hub: FakeHub, content: bytes) -> None:
    hub.faults.extend([Fault(corrupt_at=10, cut_at=5000), *[Fault(status=500)] * 3])
    failure(puller)
    assert left_over(puller) == 5000
    check_right(puller, pull(puller), content)
    assert hub.ranges()[-2:] == ["bytes=5000-", ""]


def test_a_part_of_another_file_is_not_continued(puller: Puller, hub: FakeHub, content: bytes) -> None:
    hub.faults.extend([Fault(cut_at=5000), *[Fault(status=500)] * 3])
    failure(puller)
    hub.files[REPOSITORY, FILE] = changed = content[:-1] + bytes([content[-1] ^ 1])
    check_right(puller, pull(puller), changed)
    assert hub.ranges()[-1] == ""


def test_a_server_without_ranges_sends_the_whole_file_again(puller: Puller, hub: FakeHub, content: bytes) -> None:
    hub.faults.extend([Fault(cut_at=5000), Fault(ignores_range=True)])
    check_right(puller, pull(puller), content)


def test_a_file_that_became_shorter_is_downloaded_again(puller: Puller, hub: FakeHub, content: bytes) -> None:
    hub.faults.extend([Fault(cut_at=5000), Fault(status=416)])
    check_right(puller, pull(puller), content)
    assert hub.ranges()[-1] == ""


def test_more_bytes_than_announced_are_not_written(puller: Puller, hub: FakeHub) -> None:
    hub.faults.extend([Fault(n_extra_bytes=3)] * 3)
    assert "more bytes" in failure(puller)
    assert left_over(puller) < SIZE


def test_a_compressed_answer_is_refused(puller: Puller, hub: FakeHub) -> None:
    hub.faults.append(Fault(is_compressed=True))
    assert "compressed" in failure(puller)


def test_a_silent_connection_is_given_up(puller: Puller, hub: FakeHub, content: bytes) -> None:
    hub.faults.append(Fault(hold_at=5000))
    impatient = evolve(puller, read_s=0.3)
    check_right(impatient, pull(impatient), content)
    assert hub.ranges() == ["", "bytes=5000-"]


def test_the_token_is_sent_to_the_hub_only(puller: Puller, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated.add(REPOSITORY)
    message = failure(puller)
    assert "gated" in message
    assert "HF_TOKEN" in message
    monkeypatch.setenv("HF_TOKEN", "good")
    pull(evolve(puller, environment=Environment.read()))
    assert hub.requests("hub")[-1].headers["authorization"] == "Bearer good"
    assert not [each for each in hub.requests("bytes") if "authorization" in each.headers]


def test_the_token_of_hf_auth_login_is_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".cache" / "huggingface").mkdir(parents=True)
    (home / ".cache" / "huggingface" / "token").write_text("good\n")
    assert Environment.read().token == "good"  # noqa: S105  the test's own
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    assert Environment.read().token == ""


def test_offline_mode_sends_no_request(puller: Puller, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    offline = evolve(puller, environment=Environment.read())
    assert "HF_HUB_OFFLINE" in failure(offline)
    assert not hub.seen
    model = pull(puller)
    assert pull(offline) == model


@pytest.mark.parametrize(
    ("spelled", "words"),
    [
        ("no/such:x.gguf", "there is no repository no/such"),
        (f"{REPOSITORY}:other.gguf", f"has no file other.gguf; it has {FILE}"),
        (REPOSITORY, f"was named without a file; it has {FILE}"),
        (f"{REPOSITORY}@v9:{FILE}", "has no revision v9"),
        (f"{REPOSITORY}:tokenizer.json", f"has no file tokenizer.json; it has {FILE}"),
        (f"{REPOSITORY}:model.safetensors", "not the name of a .gguf file"),
        (f"{REPOSITORY}:my-tokenizer.json", "not the name of a .gguf file"),
        (f"{REPOSITORY}:../tokenizer.json", "not the name of a .gguf file"),
        (f"{REPOSITORY}:../x.gguf", "not the name of a .gguf file"),
        ("starcoder2-3", "did you mean starcoder2-3b?"),
        ("gpt", "is not a model of the catalogue; there are starcoder2-3b"),
        ("http://example.com/x.gguf", "neither a name of the catalogue nor ORG/REPO:FILE"),
    ],
)
def test_each_kind_of_wrong_name_has_its_error(puller: Puller, spelled: str, words: str) -> None:
    assert words in failure(puller, spelled)


def test_a_redirect_of_a_moved_repository_is_followed(puller: Puller, hub: FakeHub) -> None:
    hub.files["new/home", FILE] = hub.files.pop((REPOSITORY, FILE))
    hub.moved[REPOSITORY] = "new/home"
    source = Source(REPOSITORY, "main", FILE)
    entry = evolve(catalogue.find_entry("starcoder2-3b"), source=source, sha256="")
    plan = asyncio.run(puller.plan(Wanted(source, entry)))
    assert plan.n_bytes == SIZE


def test_a_full_disk_is_an_error_before_the_download(puller: Puller, hub: FakeHub) -> None:
    hub.stated_size = 1 << 60
    assert "GiB are needed" in failure(puller)
    assert not hub.requests("bytes")


def test_a_file_without_a_hash_is_reported(puller: Puller, hub: FakeHub, content: bytes) -> None:
    hub.states_sha256 = False
    plan = asyncio.run(puller.plan(Wanted.of(SPELLED)))
    assert any("only its size" in note for note in plan.notes)
    check_right(puller, asyncio.run(puller.pull(plan)), content)


def entry_like(hub: FakeHub, **changes: object) -> Wanted:
    source = Source(REPOSITORY, COMMIT, FILE)
    entry = evolve(catalogue.find_entry("starcoder2-3b"), source=source, sha256=hub.sha256(REPOSITORY, FILE))
    entry = evolve(entry, **changes)
    return Wanted(entry.source, entry)


def test_a_verified_hash_of_the_catalogue_must_equal_the_hubs(puller: Puller, hub: FakeHub) -> None:
    assert asyncio.run(puller.plan(entry_like(hub, is_verified=True))).n_bytes == SIZE
    with pytest.raises(ModelsError, match="not the file that the catalogue knows"):
        asyncio.run(puller.plan(entry_like(hub, is_verified=True, sha256="0" * 64)))


def test_an_unverified_entry_of_the_catalogue_is_corrected_by_the_hub(puller: Puller, hub: FakeHub) -> None:
    plan = asyncio.run(puller.plan(entry_like(hub, sha256="0" * 64)))
    assert any("unverified" in note for note in plan.notes)
    hub.revisions.discard(COMMIT)
    hub.revisions.add("main")
    missing = entry_like(hub, source=Source(REPOSITORY, "b" * 40, FILE))
    plan = asyncio.run(puller.plan(missing))
    assert any("revision" in note for note in plan.notes)
    assert plan.revision == COMMIT


def test_all_parts_of_a_split_model_are_downloaded(puller: Puller, hub: FakeHub, content: bytes) -> None:
    names = [f"q/x-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    pieces = [content[:1000], content[1000:5000], content[5000:]]
    hub.files |= {(REPOSITORY, name): piece for name, piece in zip(names, pieces, strict=True)}
    model = pull(puller, f"{REPOSITORY}:{names[0]}")
    assert b"".join(path.read_bytes() for path in model.paths) == content
    assert "name the first one" in failure(puller, f"{REPOSITORY}:{names[1]}")
    remove(model)
    assert not any(path.exists() for path in model.paths)


def test_parts_are_named_as_llama_cpp_names_them() -> None:
    assert part_names("a.gguf") == ["a.gguf"]
    assert part_names("a-00001-of-00002.gguf") == ["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"]


def test_two_pulls_at_once_download_once(puller: Puller, hub: FakeHub, content: bytes) -> None:
    hub.faults.append(Fault(hold_at=5000))
    seen: list[int] = []

    async def both() -> list[StoredModel]:
        plan = await puller.plan(Wanted.of(SPELLED))
        first = asyncio.create_task(puller.pull(plan))
        await asyncio.to_thread(hub.is_holding.wait, 60)
        second = asyncio.create_task(puller.pull(plan, lambda n, _all: seen.append(n)))
        while not seen or not seen[-1]:  # noqa: ASYNC110  the second one polls, too
            await asyncio.sleep(0.01)
        hub.lets_go.set()
        return [await first, await second]

    one, two = asyncio.run(both())
    assert one == two
    check_right(puller, one, content)
    assert len(hub.requests("bytes")) == 1
    assert 0 < max(seen) <= 5000


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, SIZE - 1))
def test_a_cancelled_pull_leaves_a_part_that_the_next_one_continues(
    puller: Puller, hub: FakeHub, content: bytes, at: int
) -> None:
    hub.seen.clear()
    hub.is_holding.clear()
    hub.lets_go.clear()
    hub.faults.append(Fault(hold_at=at))

    async def cancelled(plan: Plan) -> None:
        task = asyncio.create_task(puller.pull(plan))
        await asyncio.to_thread(hub.is_holding.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def both() -> StoredModel:
        plan = await puller.plan(Wanted.of(SPELLED))
        await cancelled(plan)
        return await puller.pull(plan)

    model = asyncio.run(both())
    hub.lets_go.set()
    check_right(puller, model, content)
    remove(model)


def test_a_file_whose_manifest_is_missing_is_verified_and_not_downloaded(
    puller: Puller, hub: FakeHub, content: bytes
) -> None:
    """This is the state after a kill between the last two steps of a pull."""
    pull(puller)
    (manifest,) = puller.store.folder.rglob("*.gguf.json")
    manifest.unlink()
    assert puller.store.find(model_source()) is None
    check_right(puller, pull(puller), content)
    assert len(hub.requests("bytes")) == 1


def test_a_stored_model_of_the_wrong_size_does_not_count(puller: Puller, content: bytes) -> None:
    model = pull(puller)
    model.path.write_bytes(b"cut")
    assert puller.store.find(model_source()) is None
    check_right(puller, pull(puller), content)


@pytest.mark.parametrize("damaged", [b"", b"[]", b"{", b'{"files": [1]}', b'{"files": []}', b"\xff"])
def test_an_invalid_manifest_is_ignored(puller: Puller, content: bytes, damaged: bytes) -> None:
    pull(puller)
    (manifest,) = puller.store.folder.rglob("*.gguf.json")
    manifest.write_bytes(damaged)
    assert list(puller.store.models()) == []
    check_right(puller, pull(puller), content)


def model_source() -> Source:
    return Source(REPOSITORY, "main", FILE)


@pytest.mark.parametrize("endpoint", ["ftp://x", "hub.example", " "])
def test_an_endpoint_that_is_no_address_is_refused(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    if endpoint.strip():
        with pytest.raises(ModelsError, match="HF_ENDPOINT"):
            Environment.read()
    else:
        assert Environment.read().endpoint == "https://huggingface.co"


def test_an_unreachable_hub_is_named(tmp_path: Path) -> None:
    with serving(FakeHub()) as gone:
        endpoint = gone.endpoint
    puller = Puller(Store(tmp_path), Environment(endpoint, "", is_offline=False), patience=QUICK)
    assert endpoint in failure(puller)


def test_a_server_that_is_no_hub_is_an_error(puller: Puller, hub: FakeHub) -> None:
    elsewhere = evolve(puller, environment=Environment(hub.bytes_host + "/x", "", is_offline=False))
    assert failure(elsewhere)
