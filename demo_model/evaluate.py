"""Step 4: measure an exported file on the held-out packages, through llama.cpp, as a user runs it.

The holes are those of `holes.py`, `syntax_holes.py` and `cross_file.py`, the layouts those of `scoring.py`. Nothing
else is done to prompt or answer, and but for the cross-file holes no other file is shown: the figures are the model's
own and not the server's. Also measured: the loss left to right.

Holes are filled in rounds, one of each language and kind, until there are `--holes` of each or the time is up, so that
all have about as many. With the same seed the first holes are always the same ones.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import time
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from demo_model import default_work_dir, holes, syntax_holes
from demo_model.cross_file import CrossFileHole, pick_cross_file_holes
from demo_model.holes import Hole, SourceFile, pick_holes, read_held_out
from demo_model.scoring import Answer, CrossFileCosts, Model, cross_file_costs, fill, log_probabilities
from demo_model.syntax_holes import pick_syntax_holes
from starcoder_lsp.documents.languages import language_for

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_MODEL = Path(__file__).parent.parent / "starcoder_lsp" / "demonstrator" / "starcoder-lsp-demonstrator.gguf"
N_WINDOW_TOKENS = 1024
# An answer of so few characters is mostly closing brackets and colons, which need no model.
N_TRIVIAL = 3
CROSS_FILE = "cross_file"
NO_CROSS_FILE = {"css", "html", "markdown", "sql"}
"""Languages in which a name of another file says little about a line."""
# At column 0 both layouts are the same.
LAYOUTS = {
    "rest_of_line": ("anchored", "psm"),
    "whole_line": ("anchored",),
    "mid_word": ("anchored", "psm"),
    "block": ("anchored",),
    "control": ("anchored",),
    "call": ("anchored",),
}
ALL = "all"


@dataclass(frozen=True)
class Figures:
    """What one kind of hole came to; shares are 0 to 1, log-probabilities in nats."""

    n_holes: int
    exact: float
    exact_standard_error: float
    exact_not_trivial: float
    share_trivial: float
    similarity: float
    log_probability_per_character: float
    median_characters: float
    p90_characters: float


@dataclass(frozen=True)
class Gain:
    """What another file in the prompt is worth: nats a line, the mean over `n_holes` and its standard error.

    `nats_over_unrelated` is what it is worth beyond a file that has no part in the line.
    """

    n_holes: int
    nats: float
    standard_error: float
    nats_over_unrelated: float
    standard_error_over_unrelated: float
    log_probability_alone: float


@dataclass
class Cell:
    """The holes of one kind in one language, and what came of the first ones of them so far."""

    language: str
    kind: str
    holes: Sequence[Hole | CrossFileHole]
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    costs: list[CrossFileCosts] = field(default_factory=list)

    def fill_next(self, model: Model, number: int) -> None:
        """Fill the hole of a number, in every layout."""
        hole = self.holes[number]
        if isinstance(hole, CrossFileHole):
            self.costs.append(cross_file_costs(model, hole))
            return
        layouts = LAYOUTS[self.kind]
        answers = fill(model, hole, layouts, is_block=self.kind == "block")
        for layout, answer in zip(layouts, answers, strict=True):
            self.answers.setdefault(f"{self.kind}, {layout}", []).append(answer)


def cells_of(files: Sequence[SourceFile], n_holes: int, seed: int) -> list[Cell]:
    """Draw the holes of every kind in every language."""
    cells = []
    for language in sorted({file.language for file in files}):
        own = [file for file in files if file.language == language]
        texts, comment = [file.text for file in own], language_for(language, "").line_comment
        drawn: dict[str, Sequence[Hole | CrossFileHole]] = {
            **{kind: pick_holes(texts, kind, n_holes, seed, comment) for kind in holes.KINDS},
            **{kind: pick_syntax_holes(texts, language, kind, n_holes, seed) for kind in syntax_holes.KINDS},
            CROSS_FILE: [] if language in NO_CROSS_FILE else pick_cross_file_holes(own, n_holes, seed),
        }
        cells += [Cell(language, kind, found) for kind, found in drawn.items() if found]
    return cells


def fill_in_rounds(model: Model, cells: Sequence[Cell], n_holes: int, deadline_s: float) -> None:
    """Fill a hole of each cell, and the next one of each, until all are filled or the time is up."""
    for number in range(n_holes):
        for cell in cells:
            if time.monotonic() > deadline_s:
                return
            if number < len(cell.holes):
                cell.fill_next(model, number)


def summarize(answers: Sequence[Answer]) -> Figures:
    """Means over `answers`, which must not be empty."""
    exact = statistics.fmean(answer.is_exact for answer in answers)
    lengths = [len(answer.expected) for answer in answers]
    not_trivial = [answer for answer in answers if len(answer.expected) > N_TRIVIAL]
    return Figures(
        n_holes=len(answers),
        exact=exact,
        exact_standard_error=math.sqrt(exact * (1 - exact) / len(answers)),
        exact_not_trivial=statistics.fmean(answer.is_exact for answer in not_trivial) if not_trivial else math.nan,
        share_trivial=1 - len(not_trivial) / len(answers),
        similarity=statistics.fmean(answer.similarity for answer in answers),
        log_probability_per_character=sum(answer.log_probability for answer in answers)
        / sum(len(answer.hole.middle) for answer in answers),
        median_characters=statistics.median(lengths),
        p90_characters=float(np.quantile(lengths, 0.9)),
    )


def gain(costs: Sequence[CrossFileCosts]) -> Gain:
    """Means over `costs`, which must not be empty."""
    gains = [each.with_other - each.alone for each in costs]
    beyond = [each.with_other - each.with_unrelated for each in costs if each.with_unrelated is not None]
    return Gain(
        n_holes=len(costs),
        nats=statistics.fmean(gains),
        standard_error=standard_error(gains),
        nats_over_unrelated=statistics.fmean(beyond) if beyond else math.nan,
        standard_error_over_unrelated=standard_error(beyond),
        log_probability_alone=statistics.fmean(each.alone for each in costs),
    )


def standard_error(values: Sequence[float]) -> float:
    """Of the mean of `values`; NaN for fewer than two."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def left_to_right_loss(model: Model, texts: Sequence[str], n_windows: int, seed: int) -> tuple[float, float]:
    """Mean loss in nats a token and nats a byte, over windows of `N_WINDOW_TOKENS` tokens that begin with a line."""
    rng = random.Random(f"windows {seed}")
    nats, n_tokens, n_bytes = 0.0, 0, 0
    for text in rng.choices(texts, weights=[len(text) for text in texts], k=n_windows):
        start = text.rfind("\n", 0, rng.randrange(len(text))) + 1
        ids = model.ids(text[start:])[:N_WINDOW_TOKENS]
        if len(ids) > 1:
            nats -= float(log_probabilities(model.decode(ids, 0, len(ids))[:-1], ids[1:]).sum())
            n_tokens += len(ids) - 1
            n_bytes += sum(len(model.pieces[token]) for token in ids[1:])
    return (nats / n_tokens, nats / n_bytes) if n_tokens else (math.nan, math.nan)


@dataclass(frozen=True)
class LanguageReport:
    """The figures of one language, or of all together."""

    holes: dict[str, Figures]
    cross_file: Gain | None
    cross_file_unseen: Gain | None
    """Of the holes whose name stands nowhere in what is shown of their own file."""
    nats_per_token: float
    nats_per_byte: float

    @classmethod
    def of(cls, cells: Sequence[Cell], losses: tuple[float, float]) -> LanguageReport:
        """Sum up the cells of a language, or of all."""
        answers: dict[str, list[Answer]] = {}
        for case, some in chain.from_iterable(cell.answers.items() for cell in cells):
            answers.setdefault(case, []).extend(some)
        costs = [cost for cell in cells for cost in cell.costs]
        unseen = [cost for cost in costs if cost.is_unseen]
        return cls(
            {case: summarize(some) for case, some in answers.items()},
            gain(costs) if costs else None,
            gain(unseen) if unseen else None,
            *losses,
        )


def table(reports: dict[str, LanguageReport]) -> str:
    """Lay the figures of holes out as a Markdown table."""
    heads = [
        "language",
        "hole",
        "n",
        "exact",
        f"exact, over {N_TRIVIAL} characters",
        f"{N_TRIVIAL} characters or fewer",
    ]
    heads += ["edit similarity", "log-prob a character", "characters: median, 90%"]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    rows += [
        f"| {language} | {kind} | {f.n_holes} | {f.exact:.1%} ± {f.exact_standard_error:.1%} | "
        f"{f.exact_not_trivial:.1%} | {f.share_trivial:.1%} | {f.similarity:.3f} | "
        f"{f.log_probability_per_character:.3f} | {f.median_characters:.0f}, {f.p90_characters:.0f} |"
        for language, report in reports.items()
        for kind, f in report.holes.items()
    ]
    return "\n".join(rows)


def text_table(reports: dict[str, LanguageReport]) -> str:
    """Lay out what another file is worth, and the losses left to right, as a Markdown table."""
    heads = ["language", "n", "another file, nats a line", "beyond an unrelated file", "n, name not shown"]
    heads += ["another file, nats a line", "nats a token", "nats a byte"]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for language, report in reports.items():
        cells = []
        for each in (report.cross_file, report.cross_file_unseen):
            cells += [str(each.n_holes), f"{each.nats:+.2f} ± {each.standard_error:.2f}"] if each else ["0", ""]
            if each is report.cross_file:
                beyond = each and f"{each.nats_over_unrelated:+.2f} ± {each.standard_error_over_unrelated:.2f}"
                cells.append(beyond or "")
        cells += [f"{report.nats_per_token:.3f}", f"{report.nats_per_byte:.3f}"]
        rows.append(f"| {language} | {' | '.join(cells)} |")
    return "\n".join(rows)


def show(cells: Sequence[Cell], n_answers: int) -> None:
    """Print the first answers of each kind, with the hidden text above each."""
    for cell in cells:
        for case, answers in cell.answers.items():
            for answer in answers[:n_answers]:
                line, mark = answer.hole.prefix.rpartition("\n")[2], "=" if answer.is_exact else " "
                print(f"{cell.language}, {case}\n{mark} {line}█{answer.expected}\n  {line}█{answer.text}")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=default_work_dir())
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--languages", help="LSP language ids, with commas; by default all that are held out")
    parser.add_argument("--holes", type=int, default=200, help="holes of each language and kind, at most")
    parser.add_argument(
        "--minutes", type=float, default=14, help="how long holes are looked for and filled; 0 is until all are"
    )
    parser.add_argument("--windows", type=int, default=20, help="windows of each language for the loss left to right")
    parser.add_argument("--threads", type=int, default=1, help="no more than idle cores: llama.cpp's threads spin")
    parser.add_argument("--plain-weights", action="store_true", help="slower, where a build of llama.cpp crashes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    parser.add_argument("--show", type=int, default=0, help="also print so many answers of each kind")
    return parser.parse_args()


def main() -> None:
    """Run the step."""
    args = arguments()
    files = read_held_out(args.work_dir / "held_out.json")
    known = sorted({file.language for file in files})
    languages = args.languages.split(",") if args.languages else known
    if not set(languages) <= set(known):
        msg = f"held-out files are in these languages only: {', '.join(known)}"
        raise SystemExit(msg)
    files = [file for file in files if file.language in languages]
    deadline_s = time.monotonic() + args.minutes * 60 if args.minutes else math.inf
    model = Model(args.model, args.threads, lays_out_anew=not args.plain_weights)
    cells = cells_of(files, args.holes, args.seed)
    fill_in_rounds(model, cells, args.holes, deadline_s)
    reports = {}
    for language in [*languages, *([ALL] if len(languages) > 1 else [])]:
        texts = [file.text for file in files if language in {file.language, ALL}]
        losses = left_to_right_loss(model, texts, args.windows, args.seed)
        reports[language] = LanguageReport.of([cell for cell in cells if language in {cell.language, ALL}], losses)
    show(cells, args.show)
    if args.json:
        print(json.dumps({language: asdict(report) for language, report in reports.items()}, indent=2))
    else:
        print(table(reports) + "\n\n" + text_table(reports))


if __name__ == "__main__":
    main()
