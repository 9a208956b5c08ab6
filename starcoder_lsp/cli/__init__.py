"""The command line: `starcoder-lsp` alone serves an editor on standard input and output."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from starcoder_lsp import __version__

COMMANDS = ("serve", "complete", "explain", "demo", "bench", "settings")
BENCHES = ("replay", "synthetic", "compare", "context")
SIZES = ("small", "3b", "7b", "15b")
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
    serve.add_argument("--tcp", metavar="HOST:PORT", help="listen there for one client; port 0 takes a free one")

    complete = commands.add_parser("complete", help="write one completion to standard output")
    complete.add_argument("place", metavar="FILE:LINE:COLUMN", help="counted from 1, as compilers print them")
    complete.add_argument("--json", action="store_true", help="write text, range, timings and token counts")
    complete.add_argument("--model", metavar="GGUF", help="the model file; otherwise the configured one")

    explain = commands.add_parser("explain", help="show what the model sees at a place, and why")
    explain.add_argument("place", metavar="FILE:LINE:COLUMN", help="counted from 1, as compilers print them")
    forms = explain.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="write what `starcoder/explain` answers")
    forms.add_argument("--html", action="store_true", help="write a page that shows the file with what was taken")
    explain.add_argument("--model", metavar="GGUF", help="the model file; otherwise the configured one")

    demo = commands.add_parser("demo", help="type a line into a real file and show what comes")
    demo.add_argument("place", metavar="FILE:LINE", nargs="?", help="the line to type; otherwise one of this program")

    _add_benches(commands.add_parser("bench", help="measure on this machine"))
    commands.add_parser("settings", help="list the settings, their defaults and what they do")
    return top


def _add_benches(bench: argparse.ArgumentParser) -> None:
    benches = bench.add_subparsers(dest="bench", required=True, metavar="{" + ",".join(BENCHES) + "}")

    replay = benches.add_parser("replay", help="replay an editing trace through the real server")
    replay.add_argument("--edits", type=int, default=200, metavar="N", help="how many edits")
    replay.add_argument("--model", metavar="GGUF", help="the model file; otherwise the configured one")

    synthetic = benches.add_parser("synthetic", help="measure a model of StarCoder2's shape with random weights")
    synthetic.add_argument("size", choices=SIZES, metavar="{" + ",".join(SIZES) + "}", help="the shape")
    synthetic.add_argument("--vocabulary", type=Path, metavar="GGUF", help="a file to take the vocabulary from")
    synthetic.add_argument("--tokens", type=int, default=4096, metavar="N", help="how many tokens to evaluate")

    compare = benches.add_parser("compare", help="the same edits on llama.cpp's own server and on this one")
    compare.add_argument("--llama-server", type=Path, required=True, metavar="PATH", help="the program to compare with")
    compare.add_argument("--edits", type=int, default=40, metavar="N", help="how many edits")
    compare.add_argument("--model", required=True, metavar="GGUF", help="the model file for both")

    context = benches.add_parser("context", help="what the text that the model sees is worth")
    context.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="files that the model never saw")
    context.add_argument("--holes", type=int, default=100, metavar="N", help="how many of each folder")
    context.add_argument("--tokens", type=int, default=1024, metavar="N", help="tokens of text around the hole")
    context.add_argument("--seed", type=int, default=0, metavar="N", help="another seed cuts other holes")
    context.add_argument("--model", metavar="GGUF", help="the model file; otherwise the configured one")

    for replays in (replay, compare):
        replays.add_argument("trace", type=Path, metavar="TRACE", help="JSON of josephg/editing-traces, gzipped or not")
        replays.add_argument("--first", type=int, default=0, metavar="N", help="number of the first edit")
    for each in (replay, synthetic, compare, context):
        each.add_argument("--json", action="store_true", help="write the figures for a program")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    if argv is None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it at once, a call into llama.cpp included
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0].startswith("--tcp"):
        arguments.insert(0, "serve")
    try:
        try:
            return run(parser().parse_args(arguments))
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except CommandError as error:
        print(f"starcoder-lsp: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:  # whoever read the output has seen enough
        discard_output()
        return 1


def discard_output() -> None:
    """Let Python write what it still holds for standard output to nowhere as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(arguments: argparse.Namespace) -> int:
    """Import and run the command: `serve` must not wait for what only the others need."""
    if sys.stdout is None:
        message = "standard output is closed"
        raise CommandError(message)
    match arguments.command:
        case "serve":
            from starcoder_lsp.cli.serve import serve

            return serve(arguments.tcp)
        case "complete":
            from starcoder_lsp.cli.complete import complete_at

            return complete_at(arguments.place, as_json=arguments.json, model=arguments.model)
        case "explain":
            from starcoder_lsp.cli.explain import explain_at

            return explain_at(arguments.place, as_json=arguments.json, as_html=arguments.html, model=arguments.model)
        case "demo":
            from starcoder_lsp.cli.demo import demo

            return demo(arguments.place)
        case "bench":
            return _run_bench(arguments)
        case "settings":
            from starcoder_lsp.cli.settings import print_settings

            return print_settings()
        case _:
            raise CommandError("expected a command: " + ", ".join(COMMANDS))


def _run_bench(arguments: argparse.Namespace) -> int:
    match arguments.bench:
        case "replay":
            from starcoder_lsp.cli.replay import replay

            return replay(
                arguments.trace,
                first=arguments.first,
                n_edits=arguments.edits,
                model=arguments.model,
                as_json=arguments.json,
            )
        case "context":
            from starcoder_lsp.cli.context import bench_context

            return bench_context(
                arguments.folders,
                n_holes=arguments.holes,
                n_tokens=arguments.tokens,
                model=arguments.model,
                seed=arguments.seed,
                as_json=arguments.json,
            )
        case "synthetic":
            from starcoder_lsp.cli.synthetic import synthetic

            return synthetic(
                arguments.size, vocabulary=arguments.vocabulary, n_tokens=arguments.tokens, as_json=arguments.json
            )
        case _:
            from starcoder_lsp.cli.compare import compare

            return compare(
                arguments.trace,
                llama_server_path=arguments.llama_server,
                model=arguments.model,
                first=arguments.first,
                n_edits=arguments.edits,
                as_json=arguments.json,
            )
