"""Text from files, made safe for one line of a message."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return `text` with `?` in place of each character that a terminal or a log could trip over."""
    return "".join(character if character.isprintable() else "?" for character in text)
