"""States on disk: a state is read as it was written or not at all, and the folder stays within its limit."""

from __future__ import annotations

import errno
import os
import random
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.engine.engine import memory_only
from starcoder_lsp.engine.local.state_files import START, DiskSpace, StateFiles, model_key

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
IDS = tuple(range(100, 140))
STATE = random.Random(1).randbytes(1000)
N_FILE_BYTES = START.size + len("doc") + 4 * len(IDS) + len(STATE) + 4


def files_in(folder: Path, key: bytes = KEY, max_bytes: int = 1 << 20) -> StateFiles:
    return StateFiles(DiskSpace(folder, max_bytes), key)


def put(files: StateFiles, document: str = "doc", ids: tuple[int, ...] = IDS, used_ns: int = 1) -> None:
    files.add(document, ids, memoryview(STATE), used_ns)


def documents(files: StateFiles) -> list[str]:
    return [stored.document for stored in files]


def on_disk(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


@given(
    document=st.text(st.characters(exclude_categories=[]), max_size=20),  # incomplete characters, too
    ids=st.lists(st.integers(0, 2**31 - 1), max_size=50),
    state=st.binary(max_size=200),
)
def test_a_state_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, document: str, ids: list[int], state: bytes
) -> None:
    folder = tmp_path_factory.mktemp("states")
    files_in(folder).add(document, ids, memoryview(state), 1)
    again = files_in(folder)
    (stored,) = again
    assert (stored.document, stored.ids) == (document, tuple(ids))
    assert again.read(stored) == state


def test_files_are_readable_by_this_user_only(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "states"
    before = os.umask(0)
    try:
        put(files_in(folder))
    finally:
        os.umask(before)
    (path,) = on_disk(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size == N_FILE_BYTES


@given(st.integers(0, N_FILE_BYTES - 1), st.integers(1, 255))
def test_any_changed_byte_is_noticed(tmp_path_factory: pytest.TempPathFactory, at: int, flip: int) -> None:
    """While the program runs, and between two runs."""
    folder = tmp_path_factory.mktemp("states")
    files = files_in(folder)
    put(files)
    (path,) = on_disk(folder)
    data = bytearray(path.read_bytes())
    data[at] ^= flip
    path.write_bytes(data)
    again = files_in(folder)
    assert [again.read(stored) for stored in again] in ([], [None])
    path.write_bytes(data)
    assert [files.read(stored) for stored in files] == [None]
    assert list(files) == []
    assert on_disk(folder) == []


@given(st.integers(0, N_FILE_BYTES - 1))
def test_a_truncated_file_is_noticed(tmp_path_factory: pytest.TempPathFactory, n_bytes: int) -> None:
    folder = tmp_path_factory.mktemp("states")
    files = files_in(folder)
    put(files)
    (path,) = on_disk(folder)
    os.truncate(path, n_bytes)
    assert list(files_in(folder)) == []
    assert path.exists() == (n_bytes < 40)  # without magic and key the file may belong to another program
    assert [files.read(stored) for stored in files] in ([], [None])
    put(files)  # the damaged file does not block a good one
    (stored,) = files
    assert files.read(stored) == STATE


def test_a_file_name_that_is_no_utf_8_is_ignored(tmp_path: Path) -> None:
    put(files_in(tmp_path))
    (path,) = on_disk(tmp_path)
    data = bytearray(path.read_bytes())
    data[START.size] = 0xFF
    path.write_bytes(data)
    assert list(files_in(tmp_path)) == []


def test_files_of_another_model_are_neither_read_nor_changed(tmp_path: Path) -> None:
    put(files_in(tmp_path))
    assert list(files_in(tmp_path, OTHER_KEY)) == []
    put(files_in(tmp_path, OTHER_KEY), "theirs")
    assert documents(files_in(tmp_path)) == ["doc"]
    assert len(on_disk(tmp_path)) == 2


def test_other_files_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "folder.kv").mkdir()
    (tmp_path / "empty.kv").touch()
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "link.kv").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.kv")
    put(files_in(tmp_path))
    assert documents(files_in(tmp_path)) == ["doc"]
    files = files_in(tmp_path, max_bytes=N_FILE_BYTES)
    put(files, "next", (1,), used_ns=2**62)
    assert {"folder.kv", "notes.txt", "pipe.kv"} < {path.name for path in on_disk(tmp_path)}


def test_a_folder_in_place_of_a_file_is_ignored(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    put(files)
    (path,) = on_disk(tmp_path)
    path.unlink()
    path.mkdir()
    assert [files.read(stored) for stored in files] == [None]
    put(files)
    assert list(files) == []
    assert on_disk(tmp_path) == [path]


def test_a_file_that_cannot_be_read_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_in(tmp_path)
    put(files)

    def refuse(*_given: object, **_named: object) -> None:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(Path, "open", refuse)
    assert list(files_in(tmp_path)) == []
    assert [files.read(stored) for stored in files] == [None]


def test_a_file_too_large_for_memory_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_in(tmp_path)
    put(files)

    def exhausted(_n: int = 0) -> bytearray:
        monkeypatch.undo()
        raise MemoryError

    monkeypatch.setattr("starcoder_lsp.engine.local.state_files.bytearray", exhausted, raising=False)
    assert [files.read(stored) for stored in files] == [None]


@pytest.mark.parametrize(
    ("where", "name"), [(os, "replace"), (os, "fdopen"), (os, "utime"), (os, "mkdir"), (Path, "replace")]
)
def test_a_failed_write_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: object, name: str
) -> None:
    files = files_in(tmp_path / "states")

    def fail(*_given: object, **_named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(where, name, fail)
        put(files)
    assert list(files) == []
    put(files)
    assert documents(files) == ["doc"]
    assert len(on_disk(tmp_path / "states")) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_in(tmp_path)
    fdopen = os.fdopen

    def full(descriptor: int, mode: str) -> object:
        os.dup2(os.open("/dev/full", os.O_WRONLY), descriptor)
        return fdopen(descriptor, mode)

    monkeypatch.setattr(os, "fdopen", full)
    put(files)
    assert list(files) == []
    assert on_disk(tmp_path) == []


def test_a_process_killed_while_it_writes_leaves_no_state(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    child = os.fork()
    if not child:
        Path.replace = lambda *_given: os._exit(9)  # type: ignore[method-assign]
        put(files)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 9
    (left,) = on_disk(tmp_path)
    assert left.name.startswith(".")
    assert list(files_in(tmp_path)) == []
    assert left.exists()  # another process may be writing it
    files = files_in(tmp_path, max_bytes=N_FILE_BYTES)
    put(files, used_ns=2**62)  # it counts, and is removed first
    assert documents(files) == ["doc"]
    assert not left.exists()


@pytest.mark.parametrize("obstacle", ["file", "nothing allowed"])
def test_a_folder_that_is_not_writable_raises_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    if obstacle == "file":
        (tmp_path / "states").touch()
    else:  # root ignores permissions
        monkeypatch.setattr("tempfile.mkstemp", lambda **_named: (_ for _ in ()).throw(PermissionError(13, "no")))
    files = files_in(tmp_path / "states")
    put(files)
    assert list(files) == []


# The limit


def test_the_least_recently_used_file_is_removed_first(tmp_path: Path) -> None:
    files = files_in(tmp_path, max_bytes=3 * N_FILE_BYTES)
    for i, name in enumerate(["aaa", "bbb", "ccc"]):
        put(files, name, (*IDS[:-1], i), used_ns=10 + i)
    (first,) = [stored for stored in files if stored.document == "aaa"]
    files.read(first)
    put(files, "ddd", (*IDS[:-1], 9), used_ns=2**62)
    assert documents(files) == documents(files_in(tmp_path)) == ["ddd", "aaa", "ccc"]


def test_files_of_other_models_count_and_are_removed_too(tmp_path: Path) -> None:
    put(files_in(tmp_path, OTHER_KEY), used_ns=1)
    files = files_in(tmp_path, max_bytes=2 * N_FILE_BYTES)
    put(files, used_ns=2)
    assert len(on_disk(tmp_path)) == 2
    put(files, "new", used_ns=3)
    assert documents(files) == ["new"]
    put(files, "nex", IDS[::-1], used_ns=4)
    assert documents(files) == ["nex", "new"]
    assert list(files_in(tmp_path, OTHER_KEY)) == []


def test_an_older_state_does_not_displace_newer_ones(tmp_path: Path) -> None:
    files = files_in(tmp_path, max_bytes=N_FILE_BYTES)
    put(files, "new", used_ns=5)
    put(files, "old", IDS[::-1], used_ns=4)
    assert documents(files) == ["new"]


def test_a_state_larger_than_the_limit_displaces_none(tmp_path: Path) -> None:
    files = files_in(tmp_path, max_bytes=N_FILE_BYTES)
    put(files)
    files.add("big", (1,), memoryview(bytes(N_FILE_BYTES)), 9)
    assert documents(files) == ["doc"]


def test_a_file_that_cannot_be_removed_still_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_in(tmp_path, max_bytes=N_FILE_BYTES)
    put(files)

    def refuse(_path: Path, *, missing_ok: bool) -> None:
        raise PermissionError(13, "no", str(missing_ok))

    monkeypatch.setattr(Path, "unlink", refuse)
    put(files, "new", IDS[::-1], used_ns=2)
    assert len(on_disk(tmp_path)) == 1


def test_a_file_that_a_newer_one_continues_is_removed(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    put(files, "a", (1, 2), used_ns=1)
    put(files, "b", (1, 2, 5), used_ns=2)
    put(files, "a", (5, 6), used_ns=3)
    put(files, "a", (1, 2, 3), used_ns=4)
    assert [(stored.document, stored.ids) for stored in files] == [("a", (1, 2, 3)), ("a", (5, 6)), ("b", (1, 2, 5))]
    assert len(on_disk(tmp_path)) == 3


def test_an_existing_state_is_not_written_again(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    put(files, used_ns=1)
    (path,) = on_disk(tmp_path)
    inode = path.stat().st_ino
    put(files, used_ns=7)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (inode, 7)


def test_two_documents_with_the_same_ids_have_two_files(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    put(files, "a")
    put(files, "bb")
    (stored,) = files
    assert stored.document == "bb"
    assert files.read(stored) == STATE


def test_files_removed_or_added_by_another_process_are_noticed(tmp_path: Path) -> None:
    files, others = files_in(tmp_path), files_in(tmp_path)
    put(files)
    put(others)
    assert len(on_disk(tmp_path)) == 1
    others.forget("doc")
    assert [files.read(stored) for stored in files] == [None]
    put(files)
    on_disk(tmp_path)[0].unlink()
    put(files)
    (stored,) = files
    assert files.read(stored) == STATE


def test_forget_removes_all_files(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    put(files, "a", (1,))
    put(files, "b", (2,))
    files.forget("a")
    assert documents(files) == documents(files_in(tmp_path)) == ["b"]


def test_each_model_has_its_own_key(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"

    def key(data: bytes, time_ns: int, *how: object) -> bytes:
        path.write_bytes(data)
        os.utime(path, ns=(time_ns, time_ns))
        return model_key(path, *how)

    keys = [key(b"a", 1), key(b"b", 1), key(b"aa", 1), key(b"a", 2), key(b"a", 1, "0.3.36"), key(b"a", 1, "0.3.36", 1)]
    assert len(set(keys)) == len(keys)
    assert key(b"a", 1, "0.3.36") == keys[4]
    assert {len(each) for each in keys} == {32}


def test_a_memory_only_document_is_never_written(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    put(files, memory_only("file:///a/.env"))
    assert on_disk(tmp_path) == []
    assert documents(files) == []
