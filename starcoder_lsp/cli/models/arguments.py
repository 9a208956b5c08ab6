"""The arguments of `starcoder-lsp models`."""

from __future__ import annotations

import argparse

WHICH = "a name that `models list` shows, or the path of a GGUF file"


def add_models(models: argparse.ArgumentParser) -> None:
    """Add the commands below `models`."""
    commands = models.add_subparsers(required=True)

    listing = commands.add_parser("list", help="list models here and models to download, with size, licence and speed")
    listing.set_defaults(runs="models.listing.list_models")
    listing.add_argument(
        "--measure", dest="measures_anew", action="store_true", help="measure this machine's memory once more"
    )

    pull = commands.add_parser("pull", help="download and verify a model; an interrupted download is resumed")
    pull.set_defaults(runs="models.pulling.pull_model")
    pull.add_argument(
        "model",
        metavar="NAME|ORG/REPO:FILE",
        help="a model of the catalogue, or a .gguf file or tokenizer.json of the hub",
    )
    pull.add_argument(
        "--accept-licence",
        "--accept-license",
        dest="accepts_licence",
        action="store_true",
        help="accept the model's licence without a question",
    )
    ways = pull.add_mutually_exclusive_group()
    ways.add_argument("--use", dest="uses", action="store_true", default=None, help="choose it in your settings")
    ways.add_argument(
        "--no-use",
        dest="uses",
        action="store_false",
        help="do not choose it; by default it is chosen if none was before",
    )

    use = commands.add_parser("use", help="choose a model in your own settings")
    use.set_defaults(runs="models.choosing.use_model")
    use.add_argument("model", metavar="NAME|PATH", help=f"{WHICH}; `demonstrator` goes back to it")

    remove = commands.add_parser("remove", help="delete a downloaded model")
    remove.set_defaults(runs="models.choosing.remove_model")
    remove.add_argument("model", metavar="NAME", help="its name")

    verify = commands.add_parser("verify", help="read a model's files and compare their sha256")
    verify.set_defaults(runs="models.choosing.verify_model")
    verify.add_argument("model", metavar="NAME|PATH", nargs="?", help=f"{WHICH}; otherwise the one in use")

    path = commands.add_parser("path", help="write the path of a model's file")
    path.set_defaults(runs="models.choosing.print_path")
    path.add_argument("model", metavar="NAME", nargs="?", help="its name; otherwise the one in use")

    for each in (listing, pull, use, remove, verify, path):
        each.add_argument("--json", dest="as_json", action="store_true", help="write the answer for a program")
