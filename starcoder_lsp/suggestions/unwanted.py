"""What no one wants to be shown: chatter that models learn from the heads of files, and strings shaped like secrets."""

from __future__ import annotations

import re

LICENCE = re.compile(
    rb"copyright\b.{0,40}\b(?:19|20)\d\d|\(c\)\s*(?:19|20)\d\d|SPDX-License-Identifier|all rights reserved"
    rb"|licen[sc]ed under the|licen[sc]e, version \d|permission is hereby granted|redistribution and use in source"
    rb"|GNU (?:lesser |affero )?general public licen[sc]e|without warrant(?:y|ies)",
    re.IGNORECASE,
)
FILE_NAME = re.compile(
    rb"(?:(?:file|path|filename)\s*[:=]\s*)?(?:[\w.-]+[/\\])*[\w-]+(?:\.[\w-]+)*\.[a-z]\w{0,9}", re.IGNORECASE
)
COMMENT_SIGNS = b"#/*-;%!<>\"'"
SECRET = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----"
    rb"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"  # Amazon
    rb"|\bgh[pousr]_[0-9A-Za-z]{36}|\bgithub_pat_\w{22,}|\bglpat-[\w-]{20}"  # GitHub, GitLab
    rb"|\bxox[abprs]-[0-9A-Za-z-]{10,}"  # Slack
    rb"|\bAIza[\w-]{35}|\bya29\.[\w-]{20,}"  # Google
    rb"|\b[sr]k_(?:live|test)_[0-9A-Za-z]{16,}|\bsk-[\w-]{20,}"  # Stripe, OpenAI and those who took it over
    rb"|\bnpm_[0-9A-Za-z]{36}|\bpypi-[\w-]{40,}|\bhf_[0-9A-Za-z]{30,}"
    rb"|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"  # JSON Web Token
    rb"|://[^\s/:@'\"]+:[^\s/:@'\"{}$<>]{3,}@"  # a password in a URL
)
NAMED_SECRET = re.compile(
    rb"(?:passw(?:or)?d|secret|token|api_?key|access_?key|private_?key|credential)\w*[\"']?\s*[:=]+\s*[\"']([^\"'\s]{8,})[\"']",
    re.IGNORECASE,
)
N_LEAST_KINDS = 2
"""Of letters, digits and signs a value must mix so many to be a secret rather than a word."""


def chatter_start(text: bytes, line_comment: bytes) -> int | None:
    """The byte at which `text` begins to talk about a file instead of writing it, or `None`.

    That is a comment with nothing but a file's name, or a line of a licence's head.
    """
    at = 0
    for line in text.split(b"\n"):
        code = line.strip()
        is_comment = code.startswith((line_comment or b"\0", b"/*", b"*", b"<!--"))
        bare = code.strip(COMMENT_SIGNS + b" \t")
        if is_comment and (FILE_NAME.fullmatch(bare) or LICENCE.search(bare)):
            return max(0, at - 1)
        at += len(line) + 1
    return None


def has_secret(text: bytes) -> bool:
    """Whether `text` has a string of the shape of a key, a token or a password."""
    return SECRET.search(text) is not None or any(_is_mixed(match.group(1)) for match in NAMED_SECRET.finditer(text))


def _is_mixed(value: bytes) -> bool:
    kinds = (re.search(rb"[A-Za-z]", value), re.search(rb"\d", value), re.search(rb"[^\w.{}<>$\[\]()]", value))
    return sum(kind is not None for kind in kinds) >= N_LEAST_KINDS
