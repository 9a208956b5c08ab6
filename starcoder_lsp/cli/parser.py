"""Every command and its options."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, NoReturn

from starcoder_lsp import __version__
from starcoder_lsp.cli import CommandError
from starcoder_lsp.cli.bench.arguments import add_benches, add_eval
from starcoder_lsp.cli.models.arguments import add_models
from starcoder_lsp.cli.options import add_json, add_model
from starcoder_lsp.cli.stats.arguments import add_stats


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandError(message)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write help or version. Errors are raised; argparse ignores a full device."""
        (file or sys.stderr).write(message)
        (file or sys.stderr).flush()


def parser() -> argparse.ArgumentParser:
    """Return the parser of every command. `runs` names a function in `cli/`; it takes the other arguments."""
    top = _Parser(prog="starcoder-lsp", description="Local StarCoder2 completions for any editor that speaks LSP.")
    top.add_argument("--version", action="version", version=f"starcoder-lsp {__version__}")
    commands = top.add_subparsers(required=True)

    serve = commands.add_parser("serve", help="serve an editor (the default)")
    serve.set_defaults(runs="serve.serve")
    transport = serve.add_mutually_exclusive_group()
    transport.add_argument(
        "--stdio", action="store_const", const=None, dest="tcp", help="the default; some clients pass it"
    )
    transport.add_argument("--tcp", metavar="HOST:PORT", help="listen there for one client; port 0 chooses a free port")
    serve.add_argument("--allow-remote", action="store_true", help="let --tcp listen where other machines can connect")
    serve.add_argument(
        "--token-file",
        type=Path,
        metavar="PATH",
        help="with --tcp: the client must have its content as starcoder.token in its initializationOptions",
    )

    complete = commands.add_parser("complete", help="write one completion to standard output")
    complete.set_defaults(runs="complete.complete_at")
    add_json(complete, "write text, range, timings and token counts")

    explain = commands.add_parser("explain", help="show the prompt at a position, and why it has each part")
    explain.set_defaults(runs="explain.explain_at")
    forms = explain.add_mutually_exclusive_group()
    add_json(forms, "write the result of `starcoder/explain`")
    forms.add_argument(
        "--html", dest="as_html", action="store_true", help="write a page that marks the text in the prompt"
    )

    for each in (complete, explain):
        each.add_argument("place", metavar="FILE:LINE:COLUMN", help="counted from 1, as compilers print them")
        add_model(each)

    demo = commands.add_parser("demo", help="type a line into a real file and show the suggestions")
    demo.set_defaults(runs="demo.demo")
    demo.add_argument("place", metavar="FILE:LINE", nargs="?", help="the line to type; by default one of this program")

    add_models(commands.add_parser("models", help="list, download, choose, verify and remove models"))
    _add_doctor(commands.add_parser("doctor", help="find out why completions are missing or slow"))
    add_eval(commands.add_parser("eval", help="measure suggestions in your own files, to compare models and settings"))
    add_stats(commands.add_parser("stats", help="report on this machine's record of suggestions: do they help?"))
    add_benches(commands.add_parser("bench", help="measure on this machine"))
    host = commands.add_parser("host", help="the process that runs the model; servers start it")
    host.set_defaults(runs="host.host")
    host.add_argument("name", help="the host's name in the folder for sockets")
    host.add_argument("options", help="the model and its options, in JSON")
    settings = commands.add_parser("settings", help="list the settings with their defaults and descriptions")
    settings.set_defaults(runs="settings.print_settings")
    return top


def _add_doctor(doctor: argparse.ArgumentParser) -> None:
    doctor.set_defaults(runs="doctor.command.doctor")
    add_model(doctor)
    doctor.add_argument(
        "--speed", dest="measures_speed", action="store_true", help="load the model and measure how fast it is"
    )
    doctor.add_argument(
        "--forget-crashes",
        dest="forgets_crashes",
        action="store_true",
        help="turn features on again that were turned off after a crash",
    )
    add_json(doctor, "write the report as JSON; it contains paths of this machine")
