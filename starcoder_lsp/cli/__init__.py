"""The command line: `starcoder-lsp` alone serves an editor on standard input and output."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, TextIO

from starcoder_lsp import __version__
from starcoder_lsp.cli.models.arguments import add_models
from starcoder_lsp.cli.stats.arguments import add_stats

SIZES = ("small", "3b", "7b", "15b")
STANDARD_ERROR = 2
FAILED = 2
"""The exit code of a command that failed. One line on standard error says why."""
OUTPUT_ERRORS = (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT)
"""What writing to a pipe that nobody reads, or to a full device, may raise."""
SHOW_CURSOR = b"\r\x1b[?25h\x1b[K"
"""The cursor is visible (DECTCEM), and the rest of the line erased (EL)."""
HIGHEST_NUMBER = 10**9


class CommandError(Exception):
    """A command cannot go on. The text is one line for the user."""


def warn(message: str) -> None:
    """Write a message to the user on standard error."""
    write_error_line(f"starcoder-lsp: {message}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandError(message)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write help or version; argparse passes over a device that is full."""
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
    _add_json(complete, "write text, range, timings and token counts")

    explain = commands.add_parser("explain", help="show the prompt at a position, and why it has each part")
    explain.set_defaults(runs="explain.explain_at")
    forms = explain.add_mutually_exclusive_group()
    _add_json(forms, "write the result of `starcoder/explain`")
    forms.add_argument(
        "--html", dest="as_html", action="store_true", help="write a page that marks the text in the prompt"
    )

    for each in (complete, explain):
        each.add_argument("place", metavar="FILE:LINE:COLUMN", help="counted from 1, as compilers print them")
        _add_model(each)

    demo = commands.add_parser("demo", help="type a line into a real file and show the suggestions")
    demo.set_defaults(runs="demo.demo")
    demo.add_argument("place", metavar="FILE:LINE", nargs="?", help="the line to type; by default one of this program")

    add_models(commands.add_parser("models", help="list, download, choose, verify and remove models"))
    _add_doctor(commands.add_parser("doctor", help="find out why completions are missing or slow"))
    _add_eval(commands.add_parser("eval", help="measure suggestions in your own files, to compare models and settings"))
    add_stats(commands.add_parser("stats", help="report on this machine's record of suggestions: do they help?"))
    _add_benches(commands.add_parser("bench", help="measure on this machine"))
    host = commands.add_parser("host", help="the process that runs the model; servers start it")
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
        help="turn on again what was turned off after a crash",
    )
    _add_json(doctor, "write the report as JSON; it contains paths of this machine")


def _add_eval(evaluate: argparse.ArgumentParser) -> None:
    evaluate.set_defaults(runs="bench.eval.evaluate")
    evaluate.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="files, or folders with files")
    _add_number(evaluate, "holes", 200, "number of positions")
    _add_number(evaluate, "seed", 0, "another seed chooses other positions", dest="seed")
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
        metavar="MODEL|NAME=VALUE",
        action="append",
        default=[],
        help="compare with another model, by file or name, or with another setting; may be repeated",
    )
    forms = evaluate.add_mutually_exclusive_group()
    for form, what in (("html", "write a page with a plot: match and time"), ("json", "write the figures as JSON")):
        forms.add_argument(f"--{form}", dest="form", action="store_const", const=form, default="", help=what)


def _add_benches(bench: argparse.ArgumentParser) -> None:
    benches = bench.add_subparsers(required=True)

    replay = benches.add_parser("replay", help="replay an editing trace through the real server")
    replay.set_defaults(runs="bench.replay.replay")
    _add_number(replay, "edits", None, "number of edits; by default 200, or as many as a minute has")
    _add_engine(replay, "replay on a running engine, and once more with prompts that are split at the cursor")
    _add_model(replay)

    synthetic = benches.add_parser("synthetic", help="measure a model of StarCoder2's shape with random weights")
    synthetic.set_defaults(runs="bench.synthetic.synthetic")
    synthetic.add_argument("size", choices=SIZES, metavar="{" + ",".join(SIZES) + "}", help="the shape")
    synthetic.add_argument("--vocabulary", type=Path, metavar="GGUF", help="a file to take the vocabulary from")
    _add_number(synthetic, "tokens", 1024, "number of tokens to evaluate")
    synthetic.add_argument(
        "--batch", dest="batches", metavar="N[,N]", default="", help="batches of so many tokens, for a curve"
    )

    compare = benches.add_parser("compare", help="compare with llama.cpp's own server on the same edits")
    compare.set_defaults(runs="bench.compare.compare")
    compare.add_argument(
        "--llama-server",
        dest="llama_server_path",
        type=Path,
        required=True,
        metavar="PATH",
        help="the program to compare with",
    )
    _add_number(compare, "batch", 1920, "llama-server's -b, its view in tokens; llama.vim advises 1024")
    compare.add_argument("--model", required=True, metavar="GGUF", help="the model file for both")
    _add_number(compare, "edits", None, "number of edits; by default 40, or as many as three minutes have")

    context = benches.add_parser("context", help="measure what each part of the prompt is worth")
    context.set_defaults(runs="bench.context.bench_context")
    context.add_argument(
        "folders", type=Path, nargs="+", metavar="FOLDER", help="files that the model was not trained on"
    )
    _add_number(context, "holes", 100, "number of holes in each folder")
    _add_number(context, "tokens", 1024, "tokens of text around the hole")
    _add_number(context, "seed", 0, "another seed cuts other holes", dest="seed")
    _add_model(context)

    fleet = benches.add_parser("fleet", help="a team of simulated users on one engine")
    fleet.set_defaults(runs="bench.fleet.fleet")
    _add_engine(fleet, "the running engine", required=True)
    _add_number(fleet, "users", 30, "number of users")
    fleet.add_argument("--minutes", type=float, default=10.0, metavar="M", help="for each of the two kinds of prompts")
    _add_model(fleet)

    for each in (replay, compare, fleet):
        each.add_argument("path", type=Path, metavar="TRACE", help="JSON of josephg/editing-traces, gzipped or not")
        each.add_argument("--as", dest="name", metavar="NAME", help="the edited file's name, which sets its language")
        _add_number(each, "first", 0, "number of the first edit", dest="first")
    for each in (replay, synthetic, compare, context):
        each.add_argument("--seconds", type=float, metavar="S", help="begin nothing new after so many seconds")
    for each in (replay, synthetic, compare, context, fleet):
        _add_json(each)
        each.add_argument("--save", type=Path, metavar="FILE", help="write the figures to a file, too")
        each.add_argument("--against", type=Path, metavar="FILE", help="compare with figures that were saved before")


def _number(text: str) -> int:
    """Return a whole number from 0 to HIGHEST_NUMBER. Raises `argparse.ArgumentTypeError`."""
    if not text.isascii() or not text.isdigit() or len(text) > len(str(HIGHEST_NUMBER)) or int(text) > HIGHEST_NUMBER:
        message = f"{text[:20]!r} is no whole number from 0 to {HIGHEST_NUMBER}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _add_number(to: argparse.ArgumentParser, name: str, default: int | None, what: str, *, dest: str = "") -> None:
    to.add_argument(f"--{name}", dest=dest or f"n_{name}", type=_number, default=default, metavar="N", help=what)


def _add_model(to: argparse.ArgumentParser) -> None:
    to.add_argument("--model", metavar="GGUF|NAME", help="the model file; by default the configured one")


def _add_engine(to: argparse.ArgumentParser, what: str, *, required: bool = False) -> None:
    to.add_argument("--engine", metavar="KIND=URL", required=required, help=f"{what}, as vllm=http://127.0.0.1:8000")


def _add_json(to: argparse._ActionsContainer, what: str = "write the figures as JSON") -> None:
    to.add_argument("--json", dest="as_json", action="store_true", help=what)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    reopen_closed_streams()
    if argv is None:
        signal.signal(signal.SIGINT, _interrupted)
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
    except OSError as error:
        if error.errno not in OUTPUT_ERRORS:
            raise
        discard_output()
        warn(f"standard output: {error.strerror}")
        return FAILED


def _interrupted(_signal: int, _frame: object) -> None:
    """End the process at Ctrl-C, with the cursor that a progress bar has hidden. The model is in another process."""
    if os.isatty(STANDARD_ERROR):
        os.write(STANDARD_ERROR, SHOW_CURSOR)
    os.write(STANDARD_ERROR, b"starcoder-lsp: interrupted\n")
    os._exit(FAILED)


def reopen_closed_streams() -> None:
    """Open the null device for each closed standard stream.

    Otherwise the next file or socket would get the stream's number, and prints would write into it. `sys.stdin` and
    `sys.stdout` stay `None`, so that a command that needs them can refuse to run.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= STANDARD_ERROR:
        os.set_inheritable(fd, True)  # noqa: FBT003  it takes no keyword
    os.close(fd)
    if sys.stderr is None:
        sys.stderr = os.fdopen(STANDARD_ERROR, "w", closefd=False)


def write_error_line(line: str) -> None:
    """Write a line to standard error, and ignore errors of writing."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def discard_output() -> None:
    """Redirect standard output to the null device, so that Python's last flush cannot fail."""
    _discard(sys.stdout)


def _discard(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def run(arguments: Sequence[str]) -> int:
    """Import and run one command. The others are not imported: `serve` must start quickly."""
    if sys.stdout is None and arguments[0] != "serve":  # which over TCP needs none
        message = "standard output is closed"
        raise CommandError(message)
    options = vars(parser().parse_args(arguments))
    module, _, function = options.pop("runs").rpartition(".")
    code: int = getattr(import_module(f"starcoder_lsp.cli.{module}"), function)(**options)
    return code
