"""The report's figures equal the truth of 200 scripted sessions."""

from __future__ import annotations

import statistics
import subprocess
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from random import Random

import pytest
from attrs import define, field

from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.stats.events import Event, Offered
from starcoder_lsp.stats.questions import QUESTIONS, Slice
from starcoder_lsp.stats.source import gather
from starcoder_lsp.stats.store import StorePaths
from starcoder_lsp.stats.writer import Writer
from tests.stats.scripts import CHECKS_S, Script, Truth

N_SESSIONS = 200
START_S = 1_790_000_000
DAY_S = 86_400
EVERY_S = 5 * 3600
ACCEPTED = ("whole", "inferred", "word", "line")


@define
class SinkOf:
    """A sink that passes events on."""

    emit: Callable[[Event], None]


@define
class Commits:
    """A history made by `git fast-import`, without a working tree."""

    stream: list[bytes] = field(factory=list)
    n_marks: int = 0

    def add(self, branch: str, text: dict[str, str], at_s: int, committed_s: int = 0, parents: str = "") -> int:
        self.n_marks += 1
        lines = [
            f"commit refs/heads/{branch}",
            f"mark :{self.n_marks}",
            f"author A <a@b> {at_s} +0000",
            f"committer A <a@b> {committed_s or at_s} +0000",
            "data 1\nx",
            *([parents] if parents else []),
        ]
        self.stream.append("\n".join(lines).encode() + b"\n")
        for path, content in text.items():
            data = content.encode()
            self.stream.append(f"M 100644 inline {path}\ndata {len(data)}\n".encode() + data + b"\n")
        return self.n_marks


@define
class Rework:
    """The truth about the accepted lines of one session; a list for each figure, empty if it is unknown."""

    before_commit: list[float] = field(factory=list)
    within_day: list[float] = field(factory=list)
    within_week: list[float] = field(factory=list)
    before_merge: list[float] = field(factory=list)


def run_git(*arguments: str, stream: bytes = b"") -> None:
    subprocess.run(["git", *arguments], input=stream, check=True, capture_output=True)  # noqa: S603, S607  our own


def commit_all(root: Path, scripts: list[Script], now_s: int) -> dict[int, Rework]:
    """Commit each session's file in one of many ways; return the truth by session."""
    commits, found = Commits(), {}
    base = commits.add("main", {Path(s.uri).name: s.truth.before for s in scripts}, START_S - 90 * DAY_S)
    for script in scripts:
        found[script.number] = commit_one(commits, base, script, now_s)
    run_git("init", "-q", "-b", "main", str(root))
    run_git("-C", str(root), "fast-import", "--quiet", stream=b"".join(commits.stream))
    return found


def commit_one(commits: Commits, base: int, script: Script, now_s: int) -> Rework:  # noqa: C901  one story, many ends
    rng, truth, name = Random(f"commit {script.number}"), script.truth, Path(script.uri).name
    fragments = list(dict.fromkeys(line for line in truth.accepted.split("\n") if len(line) >= 4))
    way, rework = rng.choice(["none", "same", "same", "altered"]), Rework()
    if way == "none":
        return rework
    lines = truth.text.split("\n")
    holding = [i for i, line in enumerate(lines) if any(fragment in line for fragment in fragments)]
    if way == "altered" and holding:
        lines[rng.choice(holding)] = "altered before the commit"
    at_s = int(script.now_s) + 600
    rebased_s = at_s + 2 * DAY_S if rng.random() < 0.3 else 0
    is_direct = rng.random() < 0.3
    branch = "main" if is_direct else f"topic{script.number}"
    start = "" if is_direct else f"from :{base}"
    tip = commits.add(branch, {name: "\n".join(lines)}, at_s, rebased_s, start)
    new = [line for line in lines if line not in truth.before.split("\n")]
    held = [fragment for fragment in fragments if any(fragment in line for line in new)]
    if "\n".join(lines) != truth.before:
        rework.before_commit = [float(fragment not in held) for fragment in fragments]
    after_s = rng.choice([0, 7200, 3 * DAY_S, 20 * DAY_S])
    is_merged_first = rng.random() < 0.3
    changed = [i for i, line in enumerate(lines) if line in new and any(each in line for each in held)][:1]
    has_change = bool(after_s and changed and at_s + after_s < now_s)
    is_merged = not is_direct and rng.random() < 0.7
    if is_merged and is_merged_first:
        commits.add("main", {name: "\n".join(lines)}, at_s + 60, 0, f"merge :{tip}")
        branch = "main"
    gone: list[str] = []
    if has_change:
        gone = [fragment for fragment in held if fragment in lines[changed[0]]]
        lines[changed[0]] = "changed later"
        tip = commits.add(branch, {name: "\n".join(lines)}, at_s + after_s)
    if is_merged and not is_merged_first:
        commits.add("main", {name: "\n".join(lines)}, at_s + after_s + 60, 0, f"merge :{tip}")
    for limit_s, values in ((DAY_S, rework.within_day), (7 * DAY_S, rework.within_week)):
        for fragment in held:
            if fragment in gone and after_s <= limit_s:
                values.append(1.0)
            elif now_s - at_s >= limit_s:
                values.append(0.0)
    if is_merged:
        rework.before_merge = [float(each in gone and not is_merged_first) for each in held]
    return rework


class Expected:
    """The right figures, computed from the truth alone."""

    def __init__(self, truths: list[tuple[Truth, Rework]], n_written: int) -> None:
        self.truths, self.n_written = truths, n_written

    def accepted(self) -> list[Truth]:
        return [truth for truth, _ in self.truths if truth.outcome in ACCEPTED]

    def checked(self, after_s: int, number: int) -> list[float]:
        found = [truth.standing.get(after_s) for truth in self.accepted()]
        return [each[number] for each in found if each is not None]

    def acceptance(self) -> tuple[list[float], list[float], list[float]]:
        shown = [
            float(truth.outcome in ACCEPTED)
            for truth, _ in self.truths
            if truth.says_shown and (truth.was_shown or truth.outcome in ACCEPTED)
        ]
        offered = [float(truth.outcome in ACCEPTED) for truth, _ in self.truths if not truth.says_shown]
        return shown, offered, [float(truth.outcome == "typed through") for truth, _ in self.truths]

    def saved(self) -> list[float]:
        days: dict[object, int] = defaultdict(int)
        for truth, _ in self.truths:
            n = 0
            if truth.outcome in ACCEPTED and not truth.kind.startswith("rewrite"):
                known = truth.standing.get(120)
                n = truth.n_accepted - 1 - (round(known[1] * truth.n_accepted) if known else 0)
            days[datetime.fromtimestamp(truth.at_s).astimezone().date()] += n
        return [float(n) for n in days.values()]

    def waited(self) -> list[float]:
        kept = [t for t in self.accepted() if (found := t.standing.get(120)) is not None and found[1] <= 0.5]
        return [truth.waited_s for truth in kept if truth.waited_s is not None]

    def figures(self) -> dict[str, list[float]]:
        shown, offered, typed = self.acceptance()
        reworks = [rework for _, rework in self.truths]
        return {
            "accepted of shown": shown,
            "accepted of offered": offered,
            "typed through": typed,
            "characters accepted at a time": [float(truth.n_accepted) for truth in self.accepted()],
            "kept after 10 minutes": [float(each <= 0.5) for each in self.checked(600, 1)],
            "of its characters": self.checked(600, 0),
            "removed": [float(each == 0) for each in self.checked(600, 0)],
            "edited within 2 minutes, of the length": self.checked(120, 1),
            "from the request to a version that is kept": self.waited(),
            "reworked before the commit": [value for each in reworks for value in each.before_commit],
            "changed again within a day": [value for each in reworks for value in each.within_day],
            "changed again within a week": [value for each in reworks for value in each.within_week],
            "changed again before the merge": [value for each in reworks for value in each.before_merge],
            "keystrokes saved a day": self.saved(),
            "tests pass before a correction": [],
        }


def play(number: int, root: Path, writer: Writer, paths: StorePaths, prompts: PromptModel) -> Script:
    start_s = START_S + number * EVERY_S
    script = Script.new(number, f"{root}/file_{number}", writer, paths.prepare(), prompts, start_s)
    if script.rng.random() < 0.2:
        script.rewrite()
    else:
        script.accept()
    if script.truth.accepted:
        script.live_on()
    script.truth.text = script.document
    script.session.observation.stop()
    script.session.stop()
    return script


async def test_every_figure_equals_the_truth(tmp_path: Path, prompts: PromptModel) -> None:
    paths, root = StorePaths(tmp_path / "data"), tmp_path / "repository"
    paths.prepare()
    problems: list[str] = []
    writer = Writer(paths, 3650, problems.append)
    writer.start()
    scripts = [play(number, root, writer, paths, prompts) for number in range(N_SESSIONS)]
    assert writer.close(60.0)
    assert not problems
    now_s = START_S + N_SESSIONS * EVERY_S + 3 * DAY_S
    reworks = commit_all(root, scripts, now_s)
    gathered = gather(paths, [root], 0, now_s * 1000)
    assert not gathered.problems
    wheres = [{}, *({"language": each} for each in ("python", "rust", "go"))]
    wheres += [{"kind": each} for each in ("rest of line", "block", "rewrite: selection")]
    seen = set()
    for where in wheres:
        kept = [s for s in scripts if all(getattr(s.truth, key) == value for key, value in where.items())]
        truths = [(script.truth, reworks[script.number]) for script in kept]
        truths += [(each, earlier_rework(reworks[s.number], each)) for s in kept for each in s.earlier]
        written = [s for s in scripts if s.truth.language == where.get("language", s.truth.language)]
        expected = Expected(truths, sum(script.truth.n_written for script in written))
        for figure in (each for question in QUESTIONS for each in question.answer(gathered.totals, Slice(where))):
            if figure.name == "accepted characters of all":
                n = sum(truth.n_accepted for truth in expected.accepted())
                assert (figure.n, figure.value) == (expected.n_written, pytest.approx(n / expected.n_written))
                continue
            values = expected.figures()[figure.name]
            assert figure.n == len(values), (figure.name, where)
            assert figure.value == (pytest.approx(statistics.fmean(values)) if values else None), (figure.name, where)
            spread = pytest.approx(statistics.stdev(values), abs=1e-6) if len(values) > 1 else None
            assert figure.deviation == spread, (figure.name, where)
            seen |= {figure.name} if sum(values) > 0.0 else set()
    assert seen >= set(Expected([], 1).figures()) - {"tests pass before a correction"}
    checks = [check for s in scripts for check in s.truth.standing.values()]
    assert {None, (1.0, 0.0), (0.0, 1.0)} <= set(checks)
    assert any(check is not None and 0 < check[0] < 1 for check in checks)
    assert len(CHECKS_S) * 50 < len(checks)


def earlier_rework(of_last: Rework, version: Truth) -> Rework:
    """Return the rework of an undone version, which is in no commit of the file, if the file has commits."""
    lines = [line for line in version.accepted.split("\n") if len(line) >= 4]
    return Rework(before_commit=[1.0] * len(lines) if of_last.before_commit else [])


@pytest.mark.parametrize(("opened", "committed"), [("link", "real"), ("real", "real"), ("a\0b", None)])
async def test_a_document_is_found_in_its_repository_however_it_was_opened(
    tmp_path: Path, prompts: PromptModel, opened: str, committed: str | None
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    keys, events = StorePaths(tmp_path).prepare(), list[Event]()
    script = Script.new(1, f"{tmp_path}/{opened}/file", SinkOf(events.append), keys, prompts, START_S)
    script.offer(0, "text")
    [offered] = [event for event in events if isinstance(event, Offered)]
    if committed is not None:
        assert offered.document == keys.of(str(tmp_path / committed / Path(script.uri).name))
