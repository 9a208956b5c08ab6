"""Follow accepted lines in a repository: count those in the first commit that holds them, and their later changes.

Only keyed hashes and lengths of lines are known, so every stretch of a line that a commit adds is hashed and compared.
Uncertain cases count as unknown: an acceptance after which no commit changed the file, text that is not committed yet,
lines that are too long to search, commits whose times run backwards, and branches that are not merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from attrs import define, field

from starcoder_lsp.stats.history import Commit, FileChange, History, work_tree_lines
from starcoder_lsp.stats.keys import Keys
from starcoder_lsp.stats.moments import Moments
from starcoder_lsp.stats.record import AnswerRecord, Record
from starcoder_lsp.stats.totals import Totals, cell_of

DAY_S, WEEK_S = 86_400, 604_800
MAX_LINE_CHARS = 400
"""Longer lines are data, and slow to search."""

Fragment = tuple[int, str]


@define(eq=False)
class _Line:
    """An accepted line in the commit that first holds it, and when it was changed first."""

    text: str
    is_changed: bool = False
    changed: Commit | None = None


@define(eq=False)
class _Tracked:
    """An accepted answer, and the commit that first holds some of it."""

    answer: AnswerRecord
    accepted_s: int
    holder: Commit | None = None
    held: frozenset[Fragment] = frozenset()
    not_held: frozenset[Fragment] = frozenset()
    """The accepted lines that are in the holding commit, and those that certainly are not."""
    lines: dict[Fragment, _Line] = field(factory=dict)
    """The held lines, without those whose later changes are unknown."""
    was_passed: bool = False
    """True if a commit after the acceptance changed the file and certainly has none of the accepted lines."""
    paths: set[str] = field(factory=set)


@define(eq=False)
class _Matcher:
    """Finds fragments in lines, and remembers the hashes of a line."""

    keys: Keys
    _known: dict[tuple[str, int], frozenset[str]] = field(factory=dict)

    def holds(self, line: str, fragment: Fragment) -> bool:
        """Return whether a line holds a fragment."""
        n, keyed = fragment
        text = line.strip()
        if not is_searched(text) or len(text) < n:
            return False
        if (text, n) not in self._known:
            hashes = (self.keys.of(text[start : start + n]) for start in range(len(text) - n + 1))
            self._known[text, n] = frozenset(hashes)
        return keyed in self._known[text, n]

    def find(self, lines: Iterable[str], fragment: Fragment) -> str | None:
        """Return the first line that holds a fragment."""
        return next((line for line in lines if self.holds(line, fragment)), None)


def is_searched(line: str) -> bool:
    """Return whether a line is searched for accepted ones. Of others it is unknown whether they hold some."""
    return len(line.strip()) <= MAX_LINE_CHARS


def add_rework(totals: Totals, record: Record, histories: Sequence[History], keys: Keys, now_s: int) -> None:
    """Add the rework of the accepted answers, as the repositories show it, to the totals."""
    marks: dict[str, bool] = {}
    for mark in record.marks:
        if mark.is_clean:
            marks.setdefault(mark.revision, mark.is_pass)
    accepted = [each for each in record.answers if each.is_accepted and each.fragments and each.accepted_at_ms]
    unknown = {each.number for each in accepted}
    for history in histories:
        holders: dict[str, AnswerRecord] = {}
        for tracked in _tracked(accepted, history, keys):
            cell = cell_of(tracked.answer)
            for name, values in _measures(tracked, history, now_s).items():
                totals.add(cell, name, Moments.of(values))
                unknown.discard(tracked.answer.number)
            if tracked.holder is not None:
                holders.setdefault(tracked.holder.revision, tracked.answer)
        for revision, answer in holders.items():
            totals.count("assisted commits")
            verdict = marks.get(keys.of(revision))
            if verdict is not None:
                totals.count("assisted commits with a mark")
                totals.add(cell_of(answer), "tests pass", Moments.of([verdict]))
    totals.count("commit unknown", len(unknown))


def _tracked(accepted: Sequence[AnswerRecord], history: History, keys: Keys) -> list[_Tracked]:
    """Follow the accepted answers through the commits of a repository."""
    by_document: dict[str, list[_Tracked]] = {}
    for answer in accepted:
        one = _Tracked(answer, (answer.accepted_at_ms or 0) // 1000)
        by_document.setdefault(answer.document, []).append(one)
    matcher = _Matcher(keys)
    names: dict[str, set[str]] = {}
    """The keyed hashes of all paths that a file has had."""
    found: dict[int, _Tracked] = {}
    for commit in history.commits:
        for change in commit.files:
            path = change.path or change.old_path
            own = names.setdefault(path, {keys.of(str(history.root / path))})
            if change.old_path and change.old_path != path:
                own |= names.get(change.old_path, {keys.of(str(history.root / change.old_path))})
            for one in (each for name in own for each in by_document.get(name, ())):
                one.paths |= {path}
                _follow(one, commit, change, matcher)
                found[one.answer.number] = one
    waiting = [one for one in found.values() if one.holder is None and one.was_passed]
    now = work_tree_lines(history.root, {path for one in waiting for path in one.paths})
    for one in waiting:
        lines = [line for path in one.paths for line in now[path]]
        one.was_passed = all(map(is_searched, lines)) and not any(
            matcher.find(lines, fragment) for fragment in one.answer.fragments
        )
    return list(found.values())


def _follow(one: _Tracked, commit: Commit, change: FileChange, matcher: _Matcher) -> None:
    """Apply a commit that changes the file of an answer."""
    is_certain = all(map(is_searched, change.added))
    if one.holder is None:
        if commit.committed_s < one.accepted_s:
            return
        held = {fragment: matcher.find(change.added, fragment) for fragment in one.answer.fragments}
        if any(held.values()):
            one.holder = commit
            one.lines = {fragment: _Line(line) for fragment, line in held.items() if line is not None}
            one.held = frozenset(one.lines)
            one.not_held = frozenset(held.keys() - one.held if is_certain else ())
        elif commit.authored_s >= one.accepted_s and is_certain:
            one.was_passed = True
        return
    for fragment, line in list(one.lines.items()):
        if not line.is_changed and line.text in change.removed:
            again = matcher.find(change.added, fragment)
            if again is not None:
                line.text = again
            elif is_certain:
                line.is_changed, line.changed = True, commit
            else:
                del one.lines[fragment]


def _measures(one: _Tracked, history: History, now_s: int) -> dict[str, list[float]]:
    if one.holder is None:
        return {"reworked before commit": [1.0] * len(set(one.answer.fragments))} if one.was_passed else {}
    values = {"reworked before commit": [0.0] * len(one.held) + [1.0] * len(one.not_held)}
    for name, limit_s in (("changed within a day", DAY_S), ("changed within a week", WEEK_S)):
        values[name] = list(_within(one, limit_s, now_s))
    merge = history.merge_of.get(one.holder.revision)
    if merge is not None and one.holder.revision not in history.mainline:
        values["changed before the merge"] = [
            float(line.changed is not None and history.merge_of.get(line.changed.revision) == merge)
            for line in one.lines.values()
        ]
    return {name: each for name, each in values.items() if each}


def _within(one: _Tracked, limit_s: int, now_s: int) -> Iterator[float]:
    """Yield for each held line whether it was changed in time, as far as that is known."""
    since_s = one.holder.authored_s if one.holder is not None else 0
    for line in one.lines.values():
        after_s = line.changed.authored_s - since_s if line.changed is not None else None
        if after_s is not None and after_s < 0:
            continue  # times run backwards
        if after_s is not None and after_s <= limit_s:
            yield 1.0
        elif now_s - since_s >= limit_s:
            yield 0.0


def histories_of(folders: Iterable[Path], record: Record) -> Iterator[tuple[Path, int]]:
    """Yield each folder with accepted answers, with the time of the earliest one."""
    accepted = [each.accepted_at_ms for each in record.answers if each.accepted_at_ms]
    if accepted:
        for folder in folders:
            yield folder, min(accepted) // 1000 - DAY_S
