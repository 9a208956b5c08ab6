"""The command line: `starcoder-lsp` alone serves an editor on standard input and output."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from starcoder_lsp import __version__

COMMANDS = ("serve", "complete", "demo", "settings")
FAILED = 2
"""Exit code of every command that could not do what was asked; one line on standard error says why."""


class CommandError(Exception):
    """A command cannot go on. The text is one line for a person."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandError(message)


def parser() -> argparse.ArgumentParser:
    """The arguments of every command."""
    top = _Parser(prog="starcoder-lsp", description="Local StarCoder2 completions for any editor that speaks LSP.")
    top.add_argument("--version", action="version", version=f"starcoder-lsp {__version__}")
    commands = top.add_subparsers(dest="command", metavar="{" + ",".join(COMMANDS) + "}")

    serve = commands.add_parser("serve", help="serve an editor (the default)")
    serve.add_argument("--tcp", metavar="HOST:PORT", help="listen here instead of standard input and output")

    complete = commands.add_parser("complete", help="write one completion to standard output")
    complete.add_argument("place", metavar="FILE:LINE:COLUMN", help="counted from 1, as compilers print them")
    complete.add_argument("--json", action="store_true", help="write text, range, timings and token counts")
    complete.add_argument("--model", metavar="GGUF", help="the model file; otherwise the configured one")

    demo = commands.add_parser("demo", help="type a line into a real file and show what comes")
    demo.add_argument("place", metavar="FILE:LINE", nargs="?", help="the line to type; otherwise one of this program")

    commands.add_parser("settings", help="list the settings, their defaults and what they do")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0].startswith("--tcp"):
        arguments.insert(0, "serve")
    try:
        return run(parser().parse_args(arguments))
    except CommandError as error:
        print(f"starcoder-lsp: {error}", file=sys.stderr)
        return FAILED


def run(arguments: argparse.Namespace) -> int:
    """Import and run the command: `serve` must not wait for what only the others need."""
    match arguments.command:
        case "serve":
            from starcoder_lsp.cli.serve import serve

            return serve(arguments.tcp)
        case "complete":
            from starcoder_lsp.cli.complete import complete_at

            return complete_at(arguments.place, as_json=arguments.json, model=arguments.model)
        case "demo":
            from starcoder_lsp.cli.demo import demo

            return demo(arguments.place)
        case "settings":
            from starcoder_lsp.cli.settings import print_settings

            return print_settings()
        case _:
            raise CommandError("expected a command: " + ", ".join(COMMANDS))
