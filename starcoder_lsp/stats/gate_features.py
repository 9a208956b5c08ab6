"""The features of the gate: numbers that are known when a suggestion is ready."""

from __future__ import annotations

import math
import re
import zlib

from attrs import field, frozen

N_BEFORE_BYTES, N_AFTER_BYTES = 4000, 1000
"""The bytes around the cursor in which the suggestion's words are searched."""
N_NODES = 16
"""The number of weights for kinds of syntax nodes, which are shared by a hash of the kind's name."""
STOP_REASONS = ("line_end", "stop_token", "repetition", "scope_end", "max_tokens", "suffix_reached")
LEAST_LOGPROB = -30.0
WORD = re.compile(rb"[A-Za-z_]\w+")
PUNCTUATION = re.compile(rb"\W*\Z")
ENDS_IN_WORD, BEGINS_IN_WORD = re.compile(rb"\w\Z"), re.compile(rb"\w")

MEASURED = (
    "mean log-probability",
    "least log-probability",
    "first log-odds",
    "log-probability",
    "log-probability of the line",
    "least probability",
    "probability of the line",
    "length",
    "tokens",
    "lines",
    "in a word",
    "at a line's start",
    "code behind",
    "share cut",
    "cut by syntax",
    "cut",
    "replaces brackets",
    "new words",
    "known words",
    "punctuation only",
    "pause",
    "latency",
    "recent acceptances",
)
FEATURES = (*MEASURED, *(f"ends by {reason}" for reason in STOP_REASONS), *(f"node {n}" for n in range(N_NODES)))
"""The features' names in the order of `features_of`.

First log-odds stand for the margin between the two likeliest first tokens, which engines do not report.
"""


@frozen
class Ready:
    """The gate's input: a suggestion and the text around it. Log-probabilities are in nats.

    `written` is the model's whole text, `filters` the effect of each filter, `node` the syntax node before the cursor.
    """

    text: bytes
    written: bytes
    logprobs: tuple[float, ...]
    first_line_logprob: float
    stop_reason: str
    filters: tuple[tuple[str, str], ...]
    n_replaced_bytes: int
    before: bytes = field(repr=False)
    after: bytes = field(repr=False)
    node: str
    pause_s: float = 0.0
    latency_ms: float = 0.0
    recent: float = 0.0
    """The share of the last suggestions that were accepted, 0 to 1."""


def features_of(ready: Ready) -> tuple[float, ...]:
    """Return the features of a suggestion that is ready. Takes some 0.1 ms: not on the event loop."""
    logprobs = ready.logprobs or (0.0,)
    least, total = min(logprobs), sum(logprobs)
    first = math.exp(min(0.0, logprobs[0]))
    line, behind = ready.before.rpartition(b"\n")[2], ready.after.partition(b"\n")[0]
    near = set(WORD.findall(ready.before[-N_BEFORE_BYTES:] + b"\n" + ready.after[:N_AFTER_BYTES]))
    known = [word in near for word in WORD.findall(ready.text)]
    cut_by = [name for name, effect in ready.filters if effect.startswith("cut")]
    values = (
        total / len(logprobs),
        least,
        math.log(max(1e-4, first) / max(1e-4, 1 - first)),
        max(LEAST_LOGPROB, total),
        max(LEAST_LOGPROB, ready.first_line_logprob),
        math.exp(least),
        math.exp(ready.first_line_logprob),
        math.log1p(len(ready.text)),
        math.log1p(len(logprobs)),
        math.log1p(ready.text.count(b"\n")),
        float(bool(ENDS_IN_WORD.search(line) and BEGINS_IN_WORD.match(ready.text))),
        float(not line.strip()),
        float(bool(behind.strip())),
        1 - len(ready.text) / max(1, len(ready.written), len(ready.text)),
        float("fitting_syntax" in cut_by),
        float(bool(cut_by)),
        float(ready.n_replaced_bytes > 0),
        float(known.count(False)),
        sum(known) / len(known) if known else 1.0,
        float(bool(PUNCTUATION.match(ready.text))),
        math.log1p(max(0.0, ready.pause_s)),
        math.log1p(max(0.0, ready.latency_ms)),
        ready.recent,
    )
    node = zlib.crc32(ready.node.encode()) % N_NODES
    ends = (float(ready.stop_reason == reason) for reason in STOP_REASONS)
    return (*values, *ends, *(float(n == node) for n in range(N_NODES)))
