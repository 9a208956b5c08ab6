"""Parts of the front against oracles: frames, stored texts, deadlines, suspects, and the black box."""

from __future__ import annotations

import json
import mmap
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp import black_box
from starcoder_lsp.cli.serve import read_token
from starcoder_lsp.documents.documents import Documents, Edit
from starcoder_lsp.documents.uris import joined_uri
from starcoder_lsp.front.ends import accept, listen
from starcoder_lsp.front.framing import Frames, TwoLengthsError, first_body, framed
from starcoder_lsp.front.open_texts import MAX_CHANGES, OpenTexts
from starcoder_lsp.front.pending import METRICS, NO_METRICS, Pending, deadline_s, key_of
from starcoder_lsp.front.relay import Relay
from starcoder_lsp.front.requests import NEVER, Requests
from starcoder_lsp.front.suspects import MIN_CHANGED_CHARACTERS, Suspects
from starcoder_lsp.front.watchdog import PING_INTERVAL_S
from starcoder_lsp.session.session import Session

URI = "file:///a.py"


def read_frames(data: bytes, cuts: list[int]) -> Frames:
    """Return the frames of a stream whose bytes come in pieces."""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = iter([data[a:b] for a, b in pairwise(edges)])
    return Frames(lambda _n_bytes: next(pieces, b""))


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.lists(st.integers(0, 500), max_size=20))
def test_bodies_are_whole_however_the_stream_is_cut(bodies: list[bytes], cuts: list[int]) -> None:
    frames = read_frames(b"".join(map(framed, bodies)), cuts)
    assert [frames.read() for _ in bodies] == bodies
    assert frames.read() is None


@given(st.binary(min_size=1, max_size=50), st.binary(max_size=80), st.lists(st.integers(0, 200), max_size=9))
def test_peeking_at_the_first_body_leaves_it_in_the_stream(body: bytes, rest: bytes, cuts: list[int]) -> None:
    data = framed(body) + rest
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = iter([data[a:b] for a, b in pairwise(edges)])
    found, receive = first_body(lambda _n_bytes: next(pieces, b""))
    assert found == body
    assert b"".join(iter(lambda: receive(64), b"")) == data


@pytest.mark.parametrize("data", [b"", b"no message", b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n12"])
def test_peeking_into_a_stream_without_a_body_loses_nothing(data: bytes) -> None:
    pieces = iter([data])
    found, receive = first_body(lambda _n_bytes: next(pieces, b""))
    assert found == b""
    assert b"".join(iter(lambda: receive(64), b"")) == data


@pytest.mark.parametrize(
    ("data", "bodies"),
    [
        (b"Hello\r\n\r\n" + framed(b"1"), [b"1"]),
        (b"content-length :2\n\n12", [b"12"]),
        (b"Content-Length: 99999999999\r\n\r\n" + framed(b"1"), [b"1"]),
        (b"x" * 200_000 + b"\n" + framed(b"1"), [b"1"]),
        (b"Content-Length: 5\r\n\r\n12", []),
        (b"Content-Length: 1\r\n\r\n123" + framed(b"4"), [b"1", b"4"]),
    ],
)
def test_unusual_headers_are_accepted(data: bytes, bodies: list[bytes]) -> None:
    frames = read_frames(data, [])
    assert [frames.read() for _ in range(len(bodies) + 1)] == [*bodies, None]


def test_two_lengths_are_an_error_and_the_next_frame_is_read() -> None:
    frames = read_frames(b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n12" + framed(b"3"), [])
    with pytest.raises(TwoLengthsError):
        frames.read()
    assert frames.read() == b"3"


def place(line: int, character: int) -> dict[str, int]:
    return {"line": line, "character": character}


changes = st.one_of(
    st.builds(lambda text: {"text": text}, st.text("ab\n\r😀", max_size=9)),
    st.builds(
        lambda a, b, c, d, text: {"range": {"start": place(a, b), "end": place(c, d)}, "text": text},
        *(st.integers(0, 4) for _ in range(4)),
        st.text("xy\n\ré😀", max_size=5),
    ),
)


def replayed_text(texts: OpenTexts) -> str:
    """Return the text that a new session has after the messages with which the front replays a document."""
    session = Documents()
    for method, params in json.loads(json.dumps(list(texts.messages()))):
        if method == "textDocument/didOpen":
            item = params["textDocument"]
            session.open(item["uri"], item["languageId"], item["version"], item["text"])
        else:
            session.change(URI, params["textDocument"]["version"], edits(params["contentChanges"]), "utf-16")
    found = session.get(URI)
    assert found is not None
    return found.text.to_str()


def edits(given_changes: list[Any]) -> list[Edit]:
    made = []
    for change in given_changes:
        if "range" not in change:
            made.append(Edit.whole(change["text"]))
            continue
        start, end = change["range"]["start"], change["range"]["end"]
        made.append(Edit(start["line"], start["character"], end["line"], end["character"], change["text"]))
    return made


@given(st.lists(st.lists(changes, max_size=3), max_size=12), st.integers(0, 11))
def test_a_new_session_gets_the_editors_text(all_changes: list[list[Any]], fold_at: int) -> None:
    texts, editor = OpenTexts(), Documents()
    texts.take("textDocument/didOpen", {"textDocument": {"uri": URI, "languageId": "x", "version": 1, "text": "a\nb"}})
    editor.open(URI, "x", 1, "a\nb")
    for number, each in enumerate(all_changes):
        texts.take(
            "textDocument/didChange", {"textDocument": {"uri": URI, "version": number + 2}, "contentChanges": each}
        )
        expected = editor.change(URI, number + 2, edits(each), "utf-16").text.to_str()
        text = texts.documents[URI]
        if number == fold_at and text.changes:
            text.item, n_folded = text.folded("utf-16")
            del text.changes[:n_folded]
        assert replayed_text(texts) == expected


def test_long_lists_of_changes_are_folded_on_another_thread() -> None:
    texts, lock = OpenTexts(), threading.RLock()
    texts.take("textDocument/didOpen", {"textDocument": {"uri": URI, "languageId": "x", "version": 0, "text": ""}})
    n = MAX_CHANGES * 3
    for version in range(1, n + 1):
        change = {"range": {"start": place(0, 0), "end": place(0, 0)}, "text": "x"}
        texts.take(
            "textDocument/didChange", {"textDocument": {"uri": URI, "version": version}, "contentChanges": [change]}
        )
        texts.fold_if_long(lock)
    while any(thread.name == "fold" for thread in threading.enumerate()):
        pass
    texts.fold_if_long(lock)
    while any(thread.name == "fold" for thread in threading.enumerate()):
        pass
    assert len(texts.documents[URI].changes) <= MAX_CHANGES
    assert replayed_text(texts) == "x" * n


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["textDocument", "uri", "contentChanges", "range", "text", "change", "cells", "notebookDocument"]
                ),
                inner,
            )
        ),
        max_leaves=8,
    )
)
def test_junk_in_parameters_raises_nothing(params: Any) -> None:
    texts = OpenTexts()
    for method in ("textDocument/didOpen", "textDocument/didChange", "textDocument/didClose"):
        texts.take(method, params)
        texts.take(method.replace("textDocument", "notebookDocument"), params)
        texts.extent(URI)


def test_ids_of_different_types_differ_and_invalid_ones_are_none() -> None:
    assert len({key_of(1), key_of("1"), key_of(None)}) == 3
    assert all(key_of(each) is None for each in (True, [1], 1.5))


def test_each_method_has_its_deadline() -> None:
    assert deadline_s("starcoder/metrics", 10.0) < 0.1
    assert 10.0 < deadline_s("textDocument/inlineCompletion", 10.0) < 10.1
    assert deadline_s("workspace/executeCommand", 10.0) == float("inf")


@given(st.sampled_from(["textDocument/inlineCompletion", METRICS, "shutdown", "initialize"]), st.floats(0, 100))
def test_deadlines_count_from_the_start_of_the_first_session(method: str, start_s: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        now = 1000.0
        patch.setattr(time, "monotonic", lambda: now)
        requests, pending = Requests(), Pending(1, method, b"", 10.0)
        pending.wait_for_start()
        requests.add(pending)
        pending.send()
        now += start_s
        assert list(requests.answer(until=now)) == []
        requests.begin()
        assert requests.next_due() == now + deadline_s(method, 10.0)
        assert requests.next_overdue() == float("inf") or requests.next_overdue() > requests.next_due()


def test_a_suspect_loses_its_tree_and_then_its_suggestions_until_it_changes_much() -> None:
    suspects = Suspects()
    assert "a.py" in suspects.blame(URI, 0)
    assert suspects.as_json() == {"withoutTree": [URI], "withoutSuggestions": []}
    assert "no suggestions" in suspects.blame(URI, 10)
    assert suspects.blame(URI, 10) == "", "one message for each"
    assert not suspects.free(lambda _uri: (10 + MIN_CHANGED_CHARACTERS - 1, 100))
    assert suspects.free(lambda _uri: (10 + MIN_CHANGED_CHARACTERS, 100))
    assert suspects.as_json() == {"withoutTree": [URI], "withoutSuggestions": []}
    assert not suspects.free(lambda _uri: None), "once"


NOTEBOOK, CELLS = "file:///n.ipynb", ("cell:1", "cell:2")
TEXT = "x" * 5 * MIN_CHANGED_CHARACTERS


def writing(uri: str, text: str) -> tuple[str, Any]:
    """Return the message that replaces a document, or all that is in a cell."""
    document, changes = {"uri": uri, "version": 2}, [{"text": text}]
    if uri == URI:
        return "textDocument/didChange", {"textDocument": document, "contentChanges": changes}
    cells = {"textContent": [{"document": document, "changes": changes}]}
    return "notebookDocument/didChange", {"notebookDocument": {"uri": NOTEBOOK}, "change": {"cells": cells}}


@pytest.mark.parametrize(
    ("suspect", "messages", "is_freed"),
    [
        (URI, [writing(URI, TEXT)], True),
        (URI, [writing(URI, "x"), writing(CELLS[0], TEXT)], False),
        (URI, [("textDocument/didClose", {"textDocument": {"uri": URI}})], True),
        (joined_uri(NOTEBOOK, "python"), [writing(CELLS[0], TEXT), writing(CELLS[1], TEXT)], True),
        (joined_uri(NOTEBOOK, "python"), [writing(CELLS[0], "x"), writing(URI, TEXT)], False),
        (joined_uri(NOTEBOOK, "r"), [("notebookDocument/didClose", {"notebookDocument": {"uri": NOTEBOOK}})], True),
        ("file:///closed.py", [writing(URI, "x")], True),
    ],
)
def test_a_document_or_notebook_is_freed_once_it_changes_much_or_is_closed(
    suspect: str, messages: list[tuple[str, Any]], *, is_freed: bool
) -> None:
    texts, suspects = OpenTexts(), Suspects()
    items = [{"uri": uri, "languageId": "python", "version": 1, "text": TEXT} for uri in (URI, *CELLS)]
    texts.take("textDocument/didOpen", {"textDocument": items[0]})
    notebook = {"uri": NOTEBOOK, "cells": [{"document": uri} for uri in CELLS]}
    texts.take("notebookDocument/didOpen", {"notebookDocument": notebook, "cellTextDocuments": items[1:]})
    for _ in range(2):
        suspects.blame(suspect, 0)
    for message in messages:
        texts.take(*message)
    assert suspects.free(texts.extent) == is_freed
    assert (suspects.as_json()["withoutSuggestions"] == []) == is_freed


def test_a_document_is_suspected_at_the_second_kill_in_a_row_only() -> None:
    suspects = Suspects()
    assert [suspects.has_been_killed_on(uri) for uri in ("", "a", "b", "b", "b")] == [False, False, False, True, False]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "box"
    path.write_bytes(bytes(black_box.N_BYTES))
    black_box.share(os.open(path, os.O_RDWR))
    yield path
    black_box._memory = None


def test_the_black_box_names_the_documents_being_worked_on(box: Path) -> None:
    with black_box.working_on("file:///outer"):
        with black_box.working_on("file:///" + "x" * 5000):
            (note,) = black_box.notes(box.read_bytes())
            assert note.startswith("file:///xxx")
        assert black_box.notes(box.read_bytes()) == ["file:///outer"]
        thread = threading.Thread(target=_note, args=(box,))
        thread.start()
        thread.join()
    assert black_box.notes(box.read_bytes()) == []


@given(steps=st.lists(st.integers(0, 3), max_size=20))
def test_the_black_box_names_running_work_however_threads_overlap(steps: list[int]) -> None:
    """A code action and a completion are parsed on two threads."""
    memory = mmap.mmap(-1, black_box.N_BYTES)
    running: dict[int, ExitStack] = {}

    def step(number: int) -> None:
        if number in running:
            running.pop(number).close()
        else:
            running[number] = ExitStack()
            running[number].enter_context(black_box.working_on(f"file:///{number}"))

    try:
        black_box._memory = memory
        with ThreadPoolExecutor(1) as thread:  # any but the main one
            for number in (*steps, *(n for n in range(4) if steps.count(n) % 2)):
                thread.submit(step, number).result()
                newest = [f"file:///{each}" for each in list(running)[-1:]]
                assert black_box.notes(memory[:]) == newest
    finally:
        black_box._memory = None


def _note(path: Path) -> None:
    with black_box.working_on("file:///é"):
        assert black_box.notes(path.read_bytes()) == ["file:///é", "file:///outer"]


async def test_the_fronts_empty_metrics_have_the_shape_of_the_sessions() -> None:
    assert await Session().report() == NO_METRICS


def test_a_new_request_does_not_make_the_timer_scan_all_requests(tmp_path: Path) -> None:
    """A scan takes linear time, so 500 requests at once would block the thread that reads messages."""
    n_requests, n_looks = 300, 0

    class Counted(Relay):
        def _time_to_next(self) -> float:
            nonlocal n_looks
            n_looks += 1
            return super()._time_to_next()

    silent = (sys.executable, "-c", "import sys; sys.stdin.buffer.read()")
    with (tmp_path / "output").open("wb") as output:
        relay = Counted(output, is_child=False, command=silent)
        threading.Thread(target=relay._watch, daemon=True).start()
        started = time.monotonic()
        for number in range(n_requests):
            relay._on_editor(json.dumps({"id": number, "method": "textDocument/inlineCompletion"}).encode())
        elapsed_s = time.monotonic() - started
        with relay._lock:
            assert len(list(relay._requests)) == n_requests
            assert n_looks <= 3 + elapsed_s / PING_INTERVAL_S
            relay._is_leaving = True
        relay.session.kill()
        assert relay.session.wait(60)


SHORT_LIVED = """
import json, os, sys
from starcoder_lsp.front.framing import Frames, framed

frames = Frames(lambda n_bytes: os.read(0, n_bytes))
while (body := frames.read()) is not None:
    message = json.loads(body)
    if message["method"] == "initialize":
        reply = {"jsonrpc": "2.0", "id": message["id"], "result": {}}
        os.write(1, framed(json.dumps(reply).encode()))
    if message["method"] == sys.argv[1]:
        break
"""
"""A session that ends after a message, before it was up."""


@pytest.mark.parametrize("last", ["initialized", "shutdown"])
def test_shutdown_is_answered_though_the_session_has_ended_while_it_started(last: str) -> None:
    reading, writing = os.pipe()
    frames = Frames(lambda n_bytes: os.read(reading, n_bytes))
    with os.fdopen(writing, "wb") as output:
        relay = Relay(output, is_child=False, command=(sys.executable, "-c", SHORT_LIVED, last))
        relay._on_editor(b'{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}')
        assert json.loads(frames.read() or b"")["id"] == 1
        relay._on_editor(b'{"jsonrpc": "2.0", "method": "initialized", "params": {}}')
        if last == "initialized":  # it would be started again by the timer
            with relay._lock:
                assert relay._out.wake.wait_for(lambda: relay._restart_at != NEVER, 60)
        relay._on_editor(b'{"jsonrpc": "2.0", "id": 2, "method": "shutdown"}')
        threading.Thread(target=relay._watch, daemon=True).start()
        assert select.select([reading], [], [], 60)[0]
        replies = [json.loads(frames.read() or b"") for _ in range(1 + (last == "initialized"))]
        assert replies[-1] == {"jsonrpc": "2.0", "id": 2, "result": None}
        relay._is_leaving = True
    os.close(reading)


@pytest.mark.parametrize("content", ["open sesame", "open sesame\n", "open sesame\r\n", "\t open sesame \n\n"])
def test_a_client_may_send_the_token_files_content_as_it_is(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_bytes(content.encode())
    for sent in (content, content.strip()):
        listener = listen("127.0.0.1", 0)
        with listener, socket.create_connection(listener.getsockname()) as client:
            listener.settimeout(10)  # a client that is refused is followed by none
            params = {"initializationOptions": {"starcoder": {"token": sent}}}
            client.sendall(framed(json.dumps({"id": 1, "method": "initialize", "params": params}).encode()))
            _receive, output, first = accept(listener, read_token(tmp_path / "token"))
            output.close()
            assert json.loads(first)["id"] == 1
