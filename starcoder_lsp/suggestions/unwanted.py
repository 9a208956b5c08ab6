"""Find text that is never shown: comments about a file, as at its beginning, and strings shaped like secrets."""

from __future__ import annotations

import re

from starcoder_lsp.documents.languages import language_for

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
    rb"|\b[sr]k_(?:live|test)_[0-9A-Za-z]{16,}"  # Stripe
    rb"|\bsk-(?=[\w-]*\d)(?=[\w-]*[A-Z])[\w-]{20,}"  # OpenAI
    rb"|\bnpm_[0-9A-Za-z]{36}|\bpypi-[\w-]{40,}|\bhf_[0-9A-Za-z]{30,}"
    rb"|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"  # JSON Web Token
    rb"|://[^\s/:@'\"]+:[^\s/:@'\"{}$<>]{3,}@"  # a password in a URL
)
NAMED_SECRET = re.compile(
    rb"(?:passw(?:or)?d|secret|token|api_?key|access_?key|private_?key|credentials?)[\"']?\s*[:=]+\s*[\"']([^\"'\s]{8,})[\"']",
    re.IGNORECASE,
)


def chatter_start(text: bytes, line_comment: bytes) -> int | None:
    """Return the byte at which `text` begins a comment about a file, or `None`.

    Such a comment has only the name of a source file, or a line of a licence's head.
    """
    signs = (line_comment or b"\0", b"/*", b"<!--", *((b"*",) if line_comment == b"//" else ()))
    at = 0
    for line in text.split(b"\n"):
        code = line.strip()
        bare = code.strip(COMMENT_SIGNS + b" \t")
        if code.startswith(signs) and (_is_file_name(bare) or LICENCE.search(bare)):
            return max(0, at - 1)
        at += len(line) + 1
    return None


def _is_file_name(text: bytes) -> bool:
    return FILE_NAME.fullmatch(text) is not None and language_for("", text.decode("utf-8", "replace")).id != "plaintext"


def has_secret(text: bytes) -> bool:
    """Return whether `text` has a string of the shape of a key, a token or a password."""
    named = (match.group(1) for match in NAMED_SECRET.finditer(text))
    return SECRET.search(text) is not None or any(re.search(rb"\d", value) and not value.isdigit() for value in named)
