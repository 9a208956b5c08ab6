"""Events are the same however the stream is cut, and an incomplete event is ignored."""

from __future__ import annotations

import itertools
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.engine.remote.errors import BadAnswerError
from starcoder_lsp.engine.remote.events import MAX_EVENT_BYTES, EventReader

OBJECTS = st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=8) | st.integers(), max_size=3), max_size=5)
LINE_ENDS = st.sampled_from(["\n", "\r\n", "\r"])


def read(stream: bytes, cuts: list[int], *, is_events: bool = True) -> list[dict[str, object]]:
    reader, places = EventReader(is_events), sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    return [event for start, end in pairwise(places) for event in reader.feed(stream[start:end])]


@given(OBJECTS, LINE_ENDS, st.lists(st.integers(0, 400)), st.booleans())
def test_events_are_read_however_they_are_cut(objects, end, cuts, ascii_only) -> None:
    lines = [f": comment{end}event: x{end}data: {json.dumps(o, ensure_ascii=ascii_only)}{end}{end}" for o in objects]
    stream = "".join([*lines, f"data: [DONE]{end}{end}", f'data: {{"behind": 1}}{end}{end}']).encode("utf-8", "replace")
    assert len(read(stream, cuts)) == len(objects)
    if ascii_only is False:
        assert read(stream, cuts) == read(stream, []) == objects


@given(OBJECTS, st.lists(st.integers(0, 400)))
def test_json_lines_are_read_however_they_are_cut(objects, cuts) -> None:
    stream = "".join(f"{json.dumps(o)}\n\n" for o in objects).encode()
    assert read(stream, cuts, is_events=False) == objects


@pytest.mark.parametrize("half", [b'data: {"text": "a"}', b'data: {"text": "a"}\n', b'data: {"te', b"dat"])
def test_an_incomplete_event_is_ignored(half: bytes) -> None:
    assert read(b'data: {"n": 1}\n\n' + half, []) == [{"n": 1}]


def test_error_events_of_llama_server_are_read_and_nothing_follows_the_end() -> None:
    assert read(b'error: {"code": 500}\n\n', []) == [{"error": {"code": 500}}]
    assert read(b'data:{"n": 1}\n\nid: 7\ndata: {"n": 2}\n\n\n', []) == [{"n": 1}, {"n": 2}]
    reader = EventReader(is_events=True)
    assert list(reader.feed(b'data: {"n": 1}\n\n')) == [{"n": 1}]
    assert not reader.is_done
    assert list(reader.feed(b'data: [DONE]\n\ndata: {"n": 2}\n\n')) == []
    assert reader.is_done
    assert list(reader.feed(b"data: {\n\n")) == []


def test_the_size_limit_is_for_one_event_and_not_for_the_stream() -> None:
    event = b'data: {"text": "' + b"x" * (MAX_EVENT_BYTES // 2) + b'"}\n\n'
    reader = EventReader(is_events=True)
    assert sum(1 for _ in range(4) for _ in reader.feed(event)) == 4


def test_an_event_of_several_lines_is_one_object() -> None:
    assert read(b'data: {"n":\ndata: 1}\n\n', []) == [{"n": 1}]


@pytest.mark.parametrize(
    "stream", [b"data: {\n\n", b"data: [1]\n\n", b"data: nonsense\n\n", b"data: " + b"[" * 100_000 + b"\n\n"]
)
def test_an_event_that_is_no_object_is_an_error(stream: bytes) -> None:
    with pytest.raises(BadAnswerError):
        read(stream, [])


@pytest.mark.parametrize("part", [b"x" * 65_536, b"data: " + b"x" * 65_536 + b"\n"], ids=["line", "lines"])
def test_an_endless_event_is_an_error(part: bytes) -> None:
    reader = EventReader(is_events=True)
    parts = itertools.repeat(part, 2 * MAX_EVENT_BYTES // len(part))
    with pytest.raises(BadAnswerError):
        [event for each in parts for event in reader.feed(each)]
