"""The soak itself, for a second, and what it makes of what it saw."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.fuzz import soak
from tests.fuzz.peer import Footprint
from tests.fuzz.plot import MIB, Sample, growth_mib, page_of


def samples(sizes_mib: list[float]) -> list[Sample]:
    """One for each size, 5,000 edits apart."""
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


def test_the_page_draws_each_process_twice() -> None:
    page = page_of(samples([1, 2, 4]), "a <soak>")
    root = ET.fromstring(page.partition("\n")[2])  # noqa: S314  our own page
    lines = [each.attrib["points"].split() for each in root.iter("{http://www.w3.org/2000/svg}polyline")]
    assert [len(line) for line in lines] == [3] * 4
    assert [float(point.split(",")[1]) for point in lines[0]] == [255.0, 180.0, 30.0]  # the largest at the top
    assert "host&lt;" in page


@pytest.mark.timeout(600)  # four servers start, and the machine may be busy
def test_a_short_soak(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(soak, "N_CASES", 2)
    monkeypatch.setattr(sys, "argv", ["soak", "--seconds", "600", "--rounds", "1", "--output", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        soak.main()
    said = capsys.readouterr().out
    assert ended.value.code == 0, said
    summaries = {each["kind"]: each for each in map(json.loads, said.splitlines()[1:-1])}
    assert list(summaries) == list(soak.CASES)
    assert all(each["n"] > 0 == each["failed"] for each in summaries.values())
    assert all(f"{kind}: server" in (tmp_path / "soak.html").read_text() for kind in soak.CASES)
