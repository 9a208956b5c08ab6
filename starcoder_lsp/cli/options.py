"""Options that several commands have."""

from __future__ import annotations

import argparse

HIGHEST_NUMBER = 10**9


def _number(text: str) -> int:
    """Return a whole number from 0 to HIGHEST_NUMBER. Raises `argparse.ArgumentTypeError`."""
    if not text.isascii() or not text.isdigit() or len(text) > len(str(HIGHEST_NUMBER)) or int(text) > HIGHEST_NUMBER:
        message = f"{text[:20]!r} is no whole number from 0 to {HIGHEST_NUMBER}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def add_number(to: argparse.ArgumentParser, name: str, default: int | None, what: str, *, dest: str = "") -> None:
    """Add `--NAME N`, a whole number."""
    to.add_argument(f"--{name}", dest=dest or f"n_{name}", type=_number, default=default, metavar="N", help=what)


def add_model(to: argparse.ArgumentParser) -> None:
    """Add `--model`."""
    to.add_argument("--model", metavar="GGUF|NAME", help="the model file; by default the configured one")


def add_engine(to: argparse.ArgumentParser, what: str, *, required: bool = False) -> None:
    """Add `--engine`, a running engine."""
    to.add_argument("--engine", metavar="KIND=URL", required=required, help=f"{what}, as vllm=http://127.0.0.1:8000")


def add_json(to: argparse._ActionsContainer, what: str = "write the figures as JSON") -> None:
    """Add `--json`."""
    to.add_argument("--json", dest="as_json", action="store_true", help=what)
