"""The soak itself, for a second, and its report."""

from __future__ import annotations

import json
import random
import sys
import xml.etree.ElementTree as ET
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import many, soak
from tests.fuzz.peer import Footprint
from tests.fuzz.plot import MIB, Sample, course_mib, growth_mib, page_of
from tests.fuzz.saved import reduced


def samples(sizes_mib: list[float]) -> list[Sample]:
    """Return a sample for each size, 5,000 edits apart."""
    return [
        Sample("edits", 60.0 * n, 5000 * n, (Footprint("server", int(size * MIB), 12), Footprint("host<", MIB, 9)))
        for n, size in enumerate(sizes_mib)
    ]


@pytest.mark.parametrize(
    ("sizes_mib", "growth"),
    [([70, 90, 100, 100, 100, 100], 0.0), ([10, 50, 80, 81, 82, 83], 2.0), ([5, 5, 5, 9, 8.5, 8], -1.0)],
)
def test_growth_is_that_of_the_second_half(sizes_mib: list[float], growth: float) -> None:
    found = growth_mib(samples(sizes_mib), "edits")
    assert found == pytest.approx({"server": growth, "host<": 0.0})
    assert growth_mib(samples(sizes_mib), "files") == {}


def test_the_course_has_equal_steps() -> None:
    steps = zip(range(10_000, 50_000, 10_000), (3.0, 5.0, 7.0, 9.0), strict=True)
    assert course_mib(samples([1, 2, 3, 4, 5, 6, 7, 8, 9]), "edits") == [
        (n, {"server": pytest.approx(mib), "host<": 1.0}) for n, mib in steps
    ]
    assert course_mib(samples([1, 2]), "files") == []


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(0, 9))
def test_a_reduced_case_still_fails_and_cannot_be_reduced_further(steps: list[int], wanted: int) -> None:
    steps = [*steps, wanted]
    case = reduced({"steps": steps, "other": 1}, "steps", lambda each: wanted in each["steps"], 10_000)
    assert case == {"steps": [wanted], "other": 1}
    assert reduced({"steps": steps}, "steps", lambda _case: True, 0) == {"steps": steps}


@pytest.mark.parametrize("kind", list(soak.LISTS))
def test_cases_are_the_same_for_the_same_seed(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(many, "N_OF_A_METHOD", 2)
    first, again, other = (list(islice(many.cases(kind, random.Random(seed)), 3)) for seed in (1, 1, 2))
    assert first == again != other
    for case in first:
        assert json.loads(json.dumps(case)) == case
        assert case[soak.LISTS[kind]]


def test_the_page_draws_each_process_twice() -> None:
    page = page_of(samples([1, 2, 4]), "a <soak>")
    root = ET.fromstring(page.partition("\n")[2])  # noqa: S314  our own page
    lines = [each.attrib["points"].split() for each in root.iter("{http://www.w3.org/2000/svg}polyline")]
    assert [len(line) for line in lines] == [3] * 4
    assert [float(point.split(",")[1]) for point in lines[0]] == [255.0, 180.0, 30.0]  # the largest value is at the top
    assert "host&lt;" in page


@pytest.mark.timeout(600)  # four servers start, and the machine may be busy
def test_a_short_soak(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(soak, "N_CASES", 2)
    for name in ("N_STEPS", "N_MESSAGES", "MAX_KEYSTROKES", "N_OF_A_METHOD"):
        monkeypatch.setattr(many, name, 20)
    monkeypatch.setattr(sys, "argv", ["soak", "--seconds", "600", "--rounds", "1", "--output", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        soak.main()
    said = capsys.readouterr().out
    assert ended.value.code == 0, said
    summaries = {each["kind"]: each for each in map(json.loads, said.splitlines()[2:-1])}
    assert list(summaries) == list(soak.LISTS)
    assert all(each["n"] > 0 == each["failed"] for each in summaries.values())
    assert all(f"{kind}: server" in (tmp_path / "soak.html").read_text() for kind in soak.LISTS)
