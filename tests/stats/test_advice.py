"""Advice: good figures get none, and the setting that it names has the promised effect."""

from __future__ import annotations

import tomllib

import pytest

from starcoder_lsp.settings import Settings
from starcoder_lsp.settings_layers import SettingsLayer, read_settings
from starcoder_lsp.stats.moments import Moments
from starcoder_lsp.stats.report import report_of
from starcoder_lsp.stats.totals import Cell, Totals


def totals_with(*parts: tuple[str, str, int, int, float]) -> Totals:
    """Return totals; each part has language, kind, shown answers, accepted ones, and the kept share of these."""
    totals = Totals()
    for language, kind, n_shown, n_accepted, kept in parts:
        cell = Cell("2026-W40", language, kind, "a model", "default")
        totals.add(cell, "accepted of shown", Moments.of([True] * n_accepted + [False] * (n_shown - n_accepted)))
        n_kept = round(kept * n_accepted)
        totals.add(cell, "kept after 600", Moments.of([True] * n_kept + [False] * (n_accepted - n_kept)))
    return totals


def settings_with(advice: str) -> Settings:
    """Return the settings after the end of a piece of advice was pasted into the user's file."""
    pasted = tomllib.loads(advice.rpartition(": ")[2])
    settings, problems = read_settings([SettingsLayer("the user's file", pasted, trusted=True)])
    assert not problems
    return settings


GOOD = ("python", "rest of line", 400, 120, 0.9)
FEW = ("rust", "rest of line", 49, 0, 0.0)
BAD = ("rust", "rest of line", 400, 4, 1.0)
WORSE = ("go", "rest of line", 400, 0, 0.0)
UNKEPT = ("rust", "rest of line", 400, 120, 0.1)
BAD_BLOCKS = ("python", "block", 300, 3, 1.0)


@pytest.mark.parametrize("parts", [(), (GOOD,), (GOOD, FEW), (FEW,)])
def test_good_figures_and_few_answers_get_no_advice(parts: tuple[tuple[str, str, int, int, float], ...]) -> None:
    assert report_of(totals_with(*parts)).advice == []


@pytest.mark.parametrize(
    ("parts", "about", "words", "languages"),
    [
        ((GOOD, BAD), ["rust"], "1% of 400 are accepted", ["python"]),
        ((GOOD, UNKEPT), ["rust"], "10% of 120 are kept", ["python"]),
        ((GOOD, BAD, WORSE), ["go", "rust"], "are accepted", ["python"]),
    ],
)
def test_the_advice_for_a_language_with_bad_figures_turns_it_off(
    parts: tuple[tuple[str, str, int, int, float], ...], about: list[str], words: str, languages: list[str]
) -> None:
    advice = report_of(totals_with(*parts)).advice
    by_language = [each for each in advice if each.split(":")[0] in about]
    assert [each.split(":")[0] for each in by_language] == about
    assert words in by_language[-1]
    assert all(list(settings_with(each).languages) == languages for each in by_language)


def test_advice_about_blocks_and_about_everything_names_other_settings() -> None:
    advice = report_of(totals_with(GOOD, BAD_BLOCKS)).advice
    assert [settings_with(each).completion.multiline for each in advice] == ["never"]
    only, everything = report_of(totals_with(WORSE)).advice
    assert not settings_with(only).enabled
    assert settings_with(everything).trigger == "invoked"
