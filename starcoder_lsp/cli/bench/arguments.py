"""The arguments of `starcoder-lsp eval` and `starcoder-lsp bench`."""

from __future__ import annotations

import argparse
from pathlib import Path

from starcoder_lsp.cli.options import add_engine, add_json, add_model, add_number

SIZES = ("small", "3b", "7b", "15b")


def add_eval(evaluate: argparse.ArgumentParser) -> None:
    """Add the arguments of `eval`."""
    evaluate.set_defaults(runs="bench.eval.evaluate")
    evaluate.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="files, or folders with files")
    add_number(evaluate, "holes", 200, "number of positions")
    add_number(evaluate, "seed", 0, "another seed chooses other positions", dest="seed")
    add_model(evaluate)
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


def add_benches(bench: argparse.ArgumentParser) -> None:
    """Add the commands below `bench`."""
    benches = bench.add_subparsers(required=True)

    replay = benches.add_parser("replay", help="replay an editing trace through the real server")
    replay.set_defaults(runs="bench.replay.replay")
    add_number(replay, "edits", None, "number of edits; by default 200, or as many as a minute has")
    add_engine(replay, "replay on a running engine, and once more with prompts that are split at the cursor")
    add_model(replay)

    synthetic = benches.add_parser("synthetic", help="measure a model of StarCoder2's shape with random weights")
    synthetic.set_defaults(runs="bench.synthetic.synthetic")
    synthetic.add_argument("size", choices=SIZES, metavar="{" + ",".join(SIZES) + "}", help="the shape")
    synthetic.add_argument("--vocabulary", type=Path, metavar="GGUF", help="a file to take the vocabulary from")
    add_number(synthetic, "tokens", 1024, "number of tokens to evaluate")
    synthetic.add_argument(
        "--batch", dest="batches", metavar="N[,N]", default="", help="batches of N tokens, for a curve"
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
    add_number(compare, "batch", 1920, "llama-server's -b, its view in tokens; llama.vim advises 1024")
    compare.add_argument("--model", required=True, metavar="GGUF|NAME", help="the model file for both")
    add_number(compare, "edits", None, "number of edits; by default 40, or as many as three minutes have")

    context = benches.add_parser("context", help="measure the effect of each part of the prompt")
    context.set_defaults(runs="bench.context.bench_context")
    context.add_argument(
        "folders", type=Path, nargs="+", metavar="FOLDER", help="files that the model was not trained on"
    )
    add_number(context, "holes", 100, "number of holes in each folder")
    add_number(context, "tokens", 1024, "tokens of text around the hole")
    add_number(context, "seed", 0, "another seed cuts other holes", dest="seed")
    add_model(context)

    fleet = benches.add_parser("fleet", help="simulate a team of users on one engine")
    fleet.set_defaults(runs="bench.fleet.fleet")
    add_engine(fleet, "the running engine", required=True)
    add_number(fleet, "users", 30, "number of users")
    fleet.add_argument(
        "--minutes", type=float, default=10.0, metavar="M", help="minutes for each of the two kinds of prompts"
    )
    add_model(fleet)

    for each in (replay, compare, fleet):
        each.add_argument("path", type=Path, metavar="TRACE", help="JSON of josephg/editing-traces, gzipped or not")
        each.add_argument("--as", dest="name", metavar="NAME", help="the edited file's name, which sets its language")
        add_number(each, "first", 0, "number of the first edit", dest="first")
    for each in (replay, synthetic, compare, context):
        each.add_argument("--seconds", type=float, metavar="S", help="begin nothing new after S seconds")
    for each in (replay, synthetic, compare, context, fleet):
        add_json(each)
        each.add_argument("--save", type=Path, metavar="FILE", help="write the figures to a file, too")
        each.add_argument("--against", type=Path, metavar="FILE", help="compare with figures of --save")
