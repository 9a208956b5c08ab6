"""The arguments of `starcoder-lsp stats` and its subcommands."""

from __future__ import annotations

import argparse
from pathlib import Path

from starcoder_lsp.cli.options import add_model, add_number

DIMENSIONS = ("language", "kind", "model", "setting", "week")


def add_stats(stats: argparse.ArgumentParser) -> None:
    """Add the arguments. Without a subcommand, `stats` writes the report."""
    stats.set_defaults(runs="stats.command.report")
    _add_report(stats)
    actions = stats.add_subparsers(title="other things to do", metavar="{export,merge,mark,gate}")

    export = actions.add_parser("export", help="write totals, without events, for a team to merge")
    export.set_defaults(runs="stats.exchange.export")
    _add_source(export)
    merge = actions.add_parser("merge", help="report on the exported totals of several people")
    merge.set_defaults(runs="stats.exchange.merge")
    merge.add_argument("files", type=Path, nargs="+", metavar="FILE", help="a file that `stats export` wrote")
    _add_form(merge)

    mark = actions.add_parser("mark", help="record the result of tests on the commit that is checked out")
    mark.set_defaults(runs="stats.exchange.mark")
    mark.add_argument("what", choices=("tests",), help="the kind of check")
    mark.add_argument("verdict", choices=("pass", "fail"), help="the result")
    mark.add_argument("--repository", type=Path, default=Path(), metavar="FOLDER", help="otherwise the current one")

    gate = actions.add_parser("gate", help="show the features of the gate of completion.calm, and what it has learnt")
    gate.set_defaults(runs="stats.gate.gate")
    ways = gate.add_mutually_exclusive_group()
    ways.add_argument("--reset", dest="resets", action="store_true", help="forget the changes learnt on this machine")
    ways.add_argument(
        "--fit",
        dest="paths",
        type=Path,
        nargs="+",
        metavar="PATH",
        help="fit it to the configured model, by holes in your own files or folders",
    )
    add_number(gate, "holes", 200, "the number of holes")
    add_model(gate)


def _add_report(to: argparse.ArgumentParser) -> None:
    _add_source(to)
    _add_form(to)


def _add_source(to: argparse.ArgumentParser) -> None:
    to.add_argument("--since", metavar="DATE|N", help="a day such as 2026-11-01, or a number of days back, such as 30d")
    to.add_argument(
        "--repository",
        dest="repositories",
        type=Path,
        action="append",
        metavar="FOLDER",
        help="a git repository to search for rework; otherwise the one around the current folder; may be repeated",
    )


def _add_form(to: argparse.ArgumentParser) -> None:
    to.add_argument("--by", choices=DIMENSIONS, help="split the figures")
    to.add_argument(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help="two values of a split, such as python rust or setting=default setting=completion.multiline=never",
    )
    forms = to.add_mutually_exclusive_group()
    forms.add_argument("--json", dest="form", action="store_const", const="json", help="write the report for a program")
    forms.add_argument("--csv", dest="form", action="store_const", const="csv", help="write a row for each figure")
    forms.add_argument("--html", dest="form", action="store_const", const="html", help="write a self-contained page")
    to.set_defaults(form="table")
