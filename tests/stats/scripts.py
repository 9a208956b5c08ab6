"""Scripted sessions with known truth: the script chooses the user's actions, and the report must follow from them.

The truth is a list of the document's characters, each marked if it was accepted. Nothing here uses the tested code,
except to send the edits to a session.
"""

from __future__ import annotations

from random import Random

from attrs import define, evolve, field

from starcoder_lsp.completion import Completion, Item
from starcoder_lsp.documents.documents import Edit
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.prompting import Model
from starcoder_lsp.rewrites.rewrite import Rewrite
from starcoder_lsp.session.session import Session
from starcoder_lsp.stats.events import Shown, Sink
from starcoder_lsp.stats.keys import Keys
from starcoder_lsp.stats.log import Clock
from tests.scripted import ManualEngine

CHECKS_S = (30, 120, 300, 600)
LANGUAGES = {"python": "py", "rust": "rs", "go": "go"}
MIN_MOVED_CHARS = 4
"""Moved text that is shorter is not recognized, as `docs/statistics.md` says."""
FATES = ("whole", "inferred", "inferred", "parts", "line", "typed", "rejected", "superseded")


@define
class Char:
    """A character of the document; `at` is its number in the accepted text, if it is part of that."""

    text: str
    at: int | None = None


@define
class Truth:
    """The events of one session."""

    language: str
    kind: str
    at_s: float
    says_shown: bool
    was_shown: bool
    outcome: str
    accepted: str = ""
    n_accepted: int = 0
    accepted_s: float = 0.0
    standing: dict[int, tuple[float, float] | None] = field(factory=dict)
    """Share and distance by seconds after acceptance; `None` if unknown."""
    waited_s: float | None = None
    n_written: int = 0
    text: str = ""
    """The file's text at the end."""
    before: str = ""
    """The file's text at the start."""


def distance(one: str, other: str) -> int:
    """The number of single-character edits between two texts (Wagner and Fischer, 1974)."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        last, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (a != b))
    return row[-1]


@define
class Script:
    """One session in one file, on a simulated clock."""

    rng: Random
    number: int
    session: Session
    truth: Truth
    uri: str
    chars: list[Char]
    now_s: float
    version: int = 1
    undo: list[tuple[int, list[Char], int]] = field(factory=list)
    """For each change, the newest last: place, deleted text, and number of inserted characters."""
    accepted_at: int = 0
    earlier: list[Truth] = field(factory=list)
    """Undone versions of a rewrite."""

    @classmethod
    def new(cls, number: int, path: str, writer: Sink, keys: Keys, prompts: PromptModel, start_s: float) -> Script:
        rng = Random(number)
        language = rng.choice(list(LANGUAGES))
        session = Session()
        session.slot.model = Model.of(prompts, ManualEngine(prompts, ""))
        before = "".join(f"line {number} {n} of the file\n" for n in range(6))
        truth = Truth(language, "", start_s, rng.random() < 0.6, was_shown=False, outcome="superseded", before=before)
        uri = f"file://{path}.{LANGUAGES[language]}"
        script = cls(rng, number, session, truth, uri, [Char(c) for c in before], start_s)
        clock = Clock(lambda: round(script.now_s * 1000), lambda: script.now_s)
        session.observation.log.clock = clock
        session.observation.start(writer, keys, "script")
        if truth.says_shown:
            writer.emit(Shown(0, 0))  # for a suggestion in another file
        session.documents.open(uri, language, 1, before)
        return script

    @property
    def document(self) -> str:
        return "".join(char.text for char in self.chars)

    def position(self, at: int) -> tuple[int, int]:
        lines = self.document[:at].split("\n")
        return len(lines) - 1, len(lines[-1])

    def change(self, *edits: tuple[int, int, list[Char]]) -> None:
        """Send one change with several edits; each is for the text after the one before."""
        sent = []
        for start, end, new in edits:
            text = "".join(char.text for char in new)
            sent.append(Edit(*self.position(start), *self.position(end), text))
            self.undo.append((start, self.chars[start:end], len(new)))
            self.chars[start:end] = new
            self.truth.n_written += len(text)
        self.version += 1
        self.session.documents.change(self.uri, self.version, sent)

    def type(self, at: int, text: str, first: int | None = None) -> None:
        """Insert a text, whose characters from `first` on count as accepted."""
        chars = [Char(c, None if first is None else first + i) for i, c in enumerate(text)]
        self.change((at, at, chars))

    def offer(self, at: int, text: str) -> str:
        """Send a suggestion; return its name."""
        snapshot = self.session.texts.view(self.uri).own
        completion = Completion(snapshot, at, (Item(text),), latency_ms=20.0)
        named = self.session.acceptance.make(self.uri, completion)
        self.session.observation.offer(completion, named)
        if self.truth.says_shown and self.rng.random() < 0.9:
            self.session.acceptance.show([named[0][0]])
            self.truth.was_shown = True
        return named[0][0]

    def words(self, n_lines: int) -> str:
        """Return a text of `n_lines` lines that occurs nowhere else."""
        return "\n".join(f"name_{self.number}_{n}_{self.rng.randrange(10**6)} = call({n})" for n in range(n_lines))

    def accept(self) -> None:
        """Offer a suggestion at the end of a line, and let chance choose its fate."""
        is_block = self.rng.random() < 0.4
        text, at = self.words(self.rng.randint(2, 4) if is_block else 1), self.document.index("\n")
        self.truth.kind = "block" if is_block else "rest of line"
        fate = self.rng.choice(FATES)
        if fate == "line" and not is_block:
            fate = "inferred"
        name = self.offer(at, text)
        self.truth.at_s = self.now_s
        self.now_s += 1.5
        outcomes = {"parts": "word", "line": "line", "typed": "typed through"}
        self.truth.outcome = outcomes.get(fate, fate)
        if fate == "rejected":
            self.session.acceptance.reject([name])
        elif fate == "superseded":
            self.type(at, "!")
        else:
            self._insert(fate, name, at, text)

    def _insert(self, fate: str, name: str, at: int, text: str) -> None:
        if fate == "typed":
            for i, c in enumerate(text):
                self.type(at + i, c)
                if c == "_":  # the client requests the rest again
                    self.offer_rest(at + i + 1, text[i + 1 :])
            return
        self.accepted_at = at
        n = {"parts": 5, "line": text.find("\n")}.get(fate, len(text))
        self.truth.accepted, self.truth.n_accepted, self.truth.accepted_s = text[:n], n, self.now_s
        if fate == "whole" and self.rng.random() < 0.5:
            self.session.acceptance.accept(name)
            self.type(at, text, 0)
        else:
            self.type(at, text[:n], 0)
            if fate == "whole":
                self.session.acceptance.accept(name)
            if fate == "parts":
                self.session.acceptance.accept_part(name)
        if fate in ("parts", "line"):
            self.type(at + n, "?")  # and other text

    def offer_rest(self, at: int, text: str) -> None:
        if text:
            snapshot = self.session.texts.view(self.uri).own
            completion = Completion(snapshot, at, (Item(text),), latency_ms=1.0)
            self.session.observation.offer(completion, self.session.acceptance.make(self.uri, completion))

    def rewrite(self) -> None:
        """Request a rewrite of a line, and sometimes undo it and request another."""
        self.truth.kind, self.truth.outcome = "rewrite: selection", "inferred"
        self.truth.says_shown = False
        start = self.document.index("\n") + 1
        end = self.document.index("\n", start)
        asked_s = self.now_s
        for _ in range(self.rng.randint(1, 2)):
            if self.accepted_at:
                self.undo_last()
                self.earlier.append(evolve(self.truth, standing={}, n_written=0, text="", before=""))
            view = self.session.texts.view(self.uri)
            self.session.observation.log.ask_rewrite(self.uri, "rewrite: selection", start)
            self.now_s += self.rng.randint(2, 20)
            text = self.words(1)
            completion = Completion(view.own, start, (Item(text),))
            rewrite = Rewrite(view.own, start, end, text, is_new_file=False, completion=completion)
            self.session.observation.offer_rewrite(view, "selection", rewrite)
            self.truth.at_s = self.now_s
            self.now_s += 1.0
            self.change((start, end, [Char(c, i) for i, c in enumerate(text)]))
            self.accepted_at = start
            self.truth.accepted, self.truth.n_accepted, self.truth.accepted_s = text, len(text), self.now_s
            self.truth.waited_s = self.now_s - asked_s

    def undo_last(self) -> None:
        start, deleted, n_inserted = self.undo.pop()
        self.change((start, start + n_inserted, deleted))
        self.undo.pop()

    def standing(self) -> tuple[float, float]:
        """Return share and distance now, from the accepted characters that remain and the text between them."""
        places = [i for i, char in enumerate(self.chars) if char.at is not None]
        now = "".join(char.text for char in self.chars[places[0] : places[-1] + 1]) if places else ""
        n = len(self.truth.accepted)
        return (len(places) / n, min(1.0, distance(self.truth.accepted, now) / n)) if places else (0.0, 1.0)

    def live_on(self) -> None:
        """Edit for more than ten minutes, and note the truth at each check."""
        end_s = self.truth.accepted_s + 700
        is_known = is_open = True
        due = list(CHECKS_S)
        while self.now_s < end_s:
            step = self.rng.choice([3, 20, 80, 200])
            while due and self.truth.accepted_s + due[0] <= self.now_s + step:
                check = due.pop(0)
                self.truth.standing[check] = self.standing() if is_known and is_open else None
                for version in self.earlier:
                    version.standing[check] = (0.0, 1.0) if is_open else None
            self.now_s += step
            if not is_open:
                continue
            choice = self.rng.random()
            if choice < 0.02:
                self.session.documents.close(self.uri)
                is_open = False
            elif choice < 0.04 and any(char.at is not None for char in self.chars):
                self.replace_all()
                is_known = False
            else:
                self.edit_once()

    def edit_once(self) -> None:
        """Make one edit of a random, usual kind."""
        places = [i for i, char in enumerate(self.chars) if char.at is not None]
        kind = self.rng.choice(["above", "inside", "delete", "undo", "move", "rename", "nothing", "gone"])
        if kind == "above":
            self.type(0, self.rng.choice(["x", "a new line\n", "é"]))
        elif kind == "undo" and self.undo and len(self.undo[-1][1]) + self.undo[-1][2] > 0:
            self.undo_last()
        elif not places or kind in ("nothing", "undo"):
            self.type(len(self.chars), "more\n")
        elif kind == "inside" and len(places) > 2:
            self.type(places[len(places) // 2], self.rng.choice(["#", "##"]))
        elif kind == "delete" and len(places) > 3:
            start = self.rng.choice(places[1:-2])
            self.change((start, start + 2, []))
        elif kind == "move" and len(places) >= MIN_MOVED_CHARS:
            self.move_lines(places)
        elif kind == "rename" and len(places) > 2:
            self.rename(places)
        elif kind == "gone" and self.rng.random() < 0.3:
            self.change((places[0], places[-1] + 1, []))

    def move_lines(self, places: list[int]) -> None:
        """Move the whole lines of the accepted text to the end of the file, in one change."""
        document = self.document
        start = document.rfind("\n", 0, places[0]) + 1
        end = document.find("\n", places[-1]) + 1
        if end > start:
            moved = self.chars[start:end]
            self.change((start, end, []), (len(self.chars) - len(moved), len(self.chars) - len(moved), moved))
            self.undo.clear()

    def rename(self, places: list[int]) -> None:
        """Rename a word inside the accepted text and one above it, in one change, the last place first."""
        middle = places[len(places) // 2]
        if self.chars[middle].text.isalnum():
            self.change((middle, middle + 1, [Char("@"), Char("@")]), (0, 1, [Char("@")]))
            self.undo.clear()

    def replace_all(self) -> None:
        """Send a whole new text that shares nothing with the old one."""
        self.version += 1
        old, new = self.document, "\x01 all is new \x02"
        self.session.documents.change(self.uri, self.version, [Edit.whole(new)])
        assert old[:1] != new[:1]
        assert old[-1:] != new[-1:]
        self.truth.n_written += len(new)
        self.chars = [Char(c) for c in new]
        self.undo.clear()
