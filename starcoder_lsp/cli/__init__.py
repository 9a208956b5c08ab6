"""The command line: `starcoder-lsp` alone serves an editor on standard input and output."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn, TextIO

from starcoder_lsp import __version__

SIZES = ("small", "3b", "7b", "15b")
STANDARD_ERROR = 2
FAILED = 2
"""Exit code of every command that could not do what was asked; one line on standard error says why."""


class CommandError(Exception):
    """A command cannot go on. The text is one line for a person."""


def warn(message: str) -> None:
    """Tell the user something on standard error."""
    tell(f"starcoder-lsp: {message}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandError(message)


def parser() -> argparse.ArgumentParser:
    """The arguments of every command. `runs` names a function of `cli/`, which takes the others as keywords."""
    top = _Parser(prog="starcoder-lsp", description="Local StarCoder2 completions for any editor that speaks LSP.")
    top.add_argument("--version", action="version", version=f"starcoder-lsp {__version__}")
    commands = top.add_subparsers(required=True)

    serve = commands.add_parser("serve", help="serve an editor (the default)")
    serve.set_defaults(runs="serve.serve")
    ways = serve.add_mutually_exclusive_group()
    ways.add_argument(
        "--stdio", action="store_const", const=None, dest="tcp", help="as without it; some clients add it"
    )
    ways.add_argument("--tcp", metavar="HOST:PORT", help="listen there for one client; port 0 takes a free one")

    complete = commands.add_parser("complete", help="write one completion to standard output")
    complete.set_defaults(runs="complete.complete_at")
    _add_json(complete, "write text, range, timings and token counts")

    explain = commands.add_parser("explain", help="show what the model sees at a place, and why")
    explain.set_defaults(runs="explain.explain_at")
    forms = explain.add_mutually_exclusive_group()
    _add_json(forms, "write what `starcoder/explain` answers")
    forms.add_argument("--html", dest="as_html", action="store_true", help="write a page that shows what was taken")

    for each in (complete, explain):
        each.add_argument("spelled", metavar="FILE:LINE:COLUMN", help="counted from 1, as compilers print them")
        _add_model(each)

    demo = commands.add_parser("demo", help="type a line into a real file and show what comes")
    demo.set_defaults(runs="demo.demo")
    demo.add_argument("spelled", metavar="FILE:LINE", nargs="?", help="the line to type; otherwise one of this program")

    _add_doctor(commands.add_parser("doctor", help="say what is wrong where completions do not come, or are slow"))
    _add_eval(commands.add_parser("eval", help="measure suggestions in your own files, to choose model and settings"))
    _add_benches(commands.add_parser("bench", help="measure on this machine"))
    host = commands.add_parser("host", help="the process that the model runs in; servers start it")
    host.set_defaults(runs="host.host")
    host.add_argument("name", help="the host's name in the folder for sockets")
    host.add_argument("options", help="which model to run and how, in JSON")
    settings = commands.add_parser("settings", help="list the settings, their defaults and what they do")
    settings.set_defaults(runs="settings.print_settings")
    return top


def _add_doctor(doctor: argparse.ArgumentParser) -> None:
    doctor.set_defaults(runs="doctor.command.doctor")
    _add_model(doctor)
    doctor.add_argument(
        "--speed", dest="measures_speed", action="store_true", help="load the model and measure how fast it is"
    )
    doctor.add_argument(
        "--forget-crashes",
        dest="forgets_crashes",
        action="store_true",
        help="let llama.cpp try again what was turned off after a crash",
    )
    _add_json(doctor, "write the report for a program; paths of this machine are in it")


def _add_eval(evaluate: argparse.ArgumentParser) -> None:
    evaluate.set_defaults(runs="bench.eval.evaluate")
    evaluate.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="files, or folders with files")
    _add_number(evaluate, "holes", 200, "how many places to ask at")
    _add_number(evaluate, "seed", 0, "another seed takes other places", dest="seed")
    _add_model(evaluate)
    evaluate.add_argument(
        "--set",
        dest="changes",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a setting, such as completion.multiline=never; may be repeated",
    )
    evaluate.add_argument(
        "--against",
        metavar="GGUF|NAME=VALUE",
        action="append",
        default=[],
        help="compare with another model file, or with another setting; may be repeated",
    )
    _add_json(evaluate)


def _add_benches(bench: argparse.ArgumentParser) -> None:
    benches = bench.add_subparsers(required=True)

    replay = benches.add_parser("replay", help="replay an editing trace through the real server")
    replay.set_defaults(runs="bench.replay.replay")
    _add_number(replay, "edits", 200, "how many edits")
    _add_model(replay)

    synthetic = benches.add_parser("synthetic", help="measure a model of StarCoder2's shape with random weights")
    synthetic.set_defaults(runs="bench.synthetic.synthetic")
    synthetic.add_argument("size", choices=SIZES, metavar="{" + ",".join(SIZES) + "}", help="the shape")
    synthetic.add_argument("--vocabulary", type=Path, metavar="GGUF", help="a file to take the vocabulary from")
    _add_number(synthetic, "tokens", 4096, "how many tokens to evaluate")

    compare = benches.add_parser("compare", help="the same edits on llama.cpp's own server and on this one")
    compare.set_defaults(runs="bench.compare.compare")
    compare.add_argument(
        "--llama-server",
        dest="llama_server_path",
        type=Path,
        required=True,
        metavar="PATH",
        help="the program to compare with",
    )
    compare.add_argument("--model", required=True, metavar="GGUF", help="the model file for both")
    _add_number(compare, "edits", 40, "how many edits")

    context = benches.add_parser("context", help="what the text that the model sees is worth")
    context.set_defaults(runs="bench.context.bench_context")
    context.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="files that the model never saw")
    _add_number(context, "holes", 100, "how many of each folder")
    _add_number(context, "tokens", 1024, "tokens of text around the hole")
    _add_number(context, "seed", 0, "another seed cuts other holes", dest="seed")
    _add_model(context)

    for each in (replay, compare):
        each.add_argument("path", type=Path, metavar="TRACE", help="JSON of josephg/editing-traces, gzipped or not")
        _add_number(each, "first", 0, "number of the first edit", dest="first")
    for each in (replay, synthetic, compare, context):
        _add_json(each)


def _add_number(to: argparse.ArgumentParser, name: str, default: int, what: str, *, dest: str = "") -> None:
    to.add_argument(f"--{name}", dest=dest or f"n_{name}", type=int, default=default, metavar="N", help=what)


def _add_model(to: argparse.ArgumentParser) -> None:
    to.add_argument("--model", metavar="GGUF", help="the model file; otherwise the configured one")


def _add_json(to: argparse._ActionsContainer, what: str = "write the figures for a program") -> None:
    to.add_argument("--json", dest="as_json", action="store_true", help=what)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    reopen_closed_streams()
    if argv is None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it at once, a call into llama.cpp included
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0].startswith(("--tcp", "--stdio")):
        arguments.insert(0, "serve")
    try:
        try:
            return run(arguments)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except CommandError as error:
        warn(str(error))
        return FAILED
    except BrokenPipeError:  # whoever read the output has seen enough
        discard_output()
        return 1


def reopen_closed_streams() -> None:
    """Open the null device as each standard stream that is closed.

    Otherwise the next file or socket would get the number, and whatever prints would write into it. Of standard input
    and output `sys` still says that they were closed: a command that needs one cannot go on.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= STANDARD_ERROR:
        os.set_inheritable(fd, True)  # noqa: FBT003  it takes no keyword
    os.close(fd)
    if sys.stderr is None:
        sys.stderr = os.fdopen(STANDARD_ERROR, "w", closefd=False)


def tell(line: str) -> None:
    """Write a line to standard error. It is no failure if that goes nowhere."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def discard_output() -> None:
    """Let Python write what it still holds for standard output to nowhere as it ends."""
    _discard(sys.stdout)


def _discard(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def run(arguments: Sequence[str]) -> int:
    """Import and run the command: `serve` must not wait for what only the others need."""
    if sys.stdout is None and arguments[0] != "serve":  # over TCP it may do without it
        message = "standard output is closed"
        raise CommandError(message)
    options = vars(parser().parse_args(arguments))
    module, _, function = options.pop("runs").rpartition(".")
    code: int = getattr(import_module(f"starcoder_lsp.cli.{module}"), function)(**options)
    return code
