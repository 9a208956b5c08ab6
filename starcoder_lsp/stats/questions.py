"""The seven questions of the report: their figures, published figures for comparison, and their limits."""

from __future__ import annotations

from collections.abc import Callable

from attrs import field, frozen

from starcoder_lsp.stats.moments import Moments
from starcoder_lsp.stats.totals import EDITED_AFTER_S, KEPT_AFTER_S, Cell, Totals


@frozen
class Figure:
    """A number with its count and spread. `n` is the number of `of`; `value` is in `unit`, or a share if `is_share`."""

    name: str
    value: float | None
    n: int
    of: str
    is_share: bool = False
    unit: str = ""
    interval: tuple[float, float] | None = None
    """95%."""
    deviation: float | None = None
    """The standard deviation of the values behind the mean."""


@frozen
class Question:
    """A question and its figures; the first one is the answer."""

    key: str
    title: str
    published: str
    caution: str
    answer: Callable[[Totals, Slice], list[Figure]]


@frozen
class Slice:
    """A part of the totals: the cells with these values of the named dimensions."""

    where: dict[str, str] = field(factory=dict)

    def __call__(self, cell: Cell) -> bool:
        """Return whether a cell belongs to it."""
        return all(getattr(cell, dimension) == value for dimension, value in self.where.items())

    def written_chars(self, totals: Totals) -> int:
        """Return the number of characters written, in the slice's week and language if it names any."""
        week, language = self.where.get("week"), self.where.get("language")
        return totals.written_chars(lambda own: week in (None, own), lambda own: language in (None, own))


def mean_of(name: str, moments: Moments, of: str, unit: str = "") -> Figure:
    """Return a mean as a figure."""
    return Figure(
        name,
        moments.mean,
        moments.n,
        of,
        unit=unit,
        interval=moments.interval(is_share=False),
        deviation=moments.deviation,
    )


def share_of(name: str, moments: Moments, of: str) -> Figure:
    """Return a share as a figure: the values are yes and no."""
    interval = moments.interval(is_share=True)
    return Figure(name, moments.mean, moments.n, of, is_share=True, interval=interval, deviation=moments.deviation)


def _acceptance(totals: Totals, wanted: Slice) -> list[Figure]:
    shown, offered = (totals.measure(f"accepted of {what}", wanted) for what in ("shown", "offered"))
    figures = [
        share_of("accepted of shown", shown, "answers shown"),
        share_of("accepted of offered", offered, "answers offered, by clients that do not say what they show"),
    ]
    figures.sort(key=lambda figure: not figure.n)
    return [*figures, share_of("typed through", totals.measure("typed through", wanted), "answers offered")]


def _written(totals: Totals, wanted: Slice) -> list[Figure]:
    accepted, n_written = totals.measure("accepted characters", wanted), wanted.written_chars(totals)
    value = accepted.total / n_written if n_written else None
    weeks = [
        Slice({**wanted.where, "week": week})
        for week in totals.values_of("week")
        if wanted.where.get("week") in (None, week)
    ]
    shares = [
        totals.measure("accepted characters", week).total / n for week in weeks if (n := week.written_chars(totals))
    ]
    spread = Moments.of(shares).deviation
    return [
        Figure("accepted characters of all", value, n_written, "characters written", is_share=True, deviation=spread),
        mean_of("characters accepted at a time", accepted, "accepted answers", "characters"),
    ]


def _kept(totals: Totals, wanted: Slice) -> list[Figure]:
    return [
        share_of("kept after 10 minutes", totals.measure(f"kept after {KEPT_AFTER_S}", wanted), "accepted answers"),
        mean_of("of its characters", totals.measure(f"standing after {KEPT_AFTER_S}", wanted), "accepted answers"),
        share_of("removed", totals.measure(f"removed after {KEPT_AFTER_S}", wanted), "accepted answers"),
    ]


def _edited(totals: Totals, wanted: Slice) -> list[Figure]:
    distance = totals.measure(f"distance after {EDITED_AFTER_S}", wanted)
    return [mean_of("edited within 2 minutes, of the length", distance, "accepted answers")]


def _waited(totals: Totals, wanted: Slice) -> list[Figure]:
    waited = totals.measure("seconds to a kept rewrite", wanted)
    return [mean_of("from the request to a version that is kept", waited, "kept rewrites", "s")]


def _reworked(totals: Totals, wanted: Slice) -> list[Figure]:
    names = {
        "reworked before commit": "reworked before the commit",
        "changed within a day": "changed again within a day",
        "changed within a week": "changed again within a week",
        "changed before the merge": "changed again before the merge",
    }
    figures = [share_of(shown, totals.measure(name, wanted), "accepted lines") for name, shown in names.items()]
    tests = totals.measure("tests pass", wanted)
    return [*figures, share_of("tests pass before a correction", tests, "assisted commits with a mark")]


def _saved(totals: Totals, wanted: Slice) -> list[Figure]:
    return [mean_of("keystrokes saved a day", totals.saved_a_day(wanted), "days", "keystrokes")]


QUESTIONS = (
    Question(
        "acceptance",
        "How many suggestions are accepted?",
        "Copilot 27% (arXiv 2205.06537), Meta 22% (arXiv 2305.12050)",
        "It rewards trivial suggestions: those that are accepted easily may save little.",
        _acceptance,
    ),
    Question(
        "characters",
        "How much of the written text comes from suggestions?",
        "Meta 8% of code (arXiv 2305.12050)",
        "Pasted text, undone edits and the work of formatters count as written, too.",
        _written,
    ),
    Question(
        "kept",
        "Is it kept after 10 minutes?",
        "no share to compare with; Copilot's model of 2025 has 20% more accepted and retained characters than the one"
        " before (github.blog, The road to better completions)",
        "Kept text is not always right: bugs that were not found are kept, too.",
        _kept,
    ),
    Question(
        "edited",
        "How much of it is edited within two minutes?",
        "no figure; Copilot and Cody compare at the same times (30, 120, 300 and 600 s)",
        "An edit may be a correction or the next thought.",
        _edited,
    ),
    Question(
        "rewrites",
        "How long does a rewrite take until a version is kept?",
        "no figure",
        "It does not include the time for reading.",
        _waited,
    ),
    Question(
        "rework",
        "How much of it is reworked before the commit and before the merge?",
        "no figure",
        "Other lines are reworked, too; the record has no figure for them.",
        _reworked,
    ),
    Question(
        "saved",
        "How many keystrokes does it save a day?",
        "Copilot: 31 accepted suggestions a day and user (arXiv 2205.06537)",
        "Saved keystrokes are not saved time: suggestions must be read.",
        _saved,
    ),
)
