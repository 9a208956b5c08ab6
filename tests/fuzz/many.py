"""Fast generation of cases for the soak: by `random`, from pools that Hypothesis fills once for each kind.

Hypothesis takes longer to draw an edit or a message than the server takes to process it. The cases are of the same
kinds as in the tests, with more steps a case and more edits a notification.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.e2e.conftest import ROOT
from tests.fuzz import edits, files, messages, workspaces

N_STEPS = 300
"""The number of notifications in a case of edits; a typed text counts as one."""
MAX_CHANGES = 40
N_MESSAGES = 200
N_OF_A_METHOD = 20
"""The number of messages in the pool for each method, before mutations."""
N_JUNK = 400
N_FILES = 8
"""The number of files that are open at once."""
N_WORKSPACES = 10
MAX_KEYSTROKES = 2_000
SHARE_COMPLETED = 0.1
"""The share of files with a completion, which costs more than all other requests for a file."""


def drawn(strategy: st.SearchStrategy[Any], n: int, number: int) -> list[Any]:
    """Return `n` examples of a strategy, the same ones for the same seed."""
    found: list[Any] = []

    @seed(number)
    @settings(max_examples=n, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(example: Any) -> None:
        found.append(example)

    collect()
    return found


def edits_of(rng: random.Random) -> dict[str, Any]:
    """Return edits of a document: characters, batches, whole texts, and the document opened again."""
    return {
        "encoding": "utf-16",
        "language": rng.choice(["plaintext", "python", "javascript", "markdown"]),
        "text": _text(rng),
        "steps": [_step(rng) for _ in range(N_STEPS)],
        "every": rng.choice([10, 50, 200]),
        "look": rng.randrange(200),
    }


def _text(rng: random.Random) -> str:
    return "".join(rng.choices(edits.PIECES, k=rng.randrange(13)))


def _place(rng: random.Random) -> tuple[int, int]:
    return rng.randrange(31), rng.choice([rng.randrange(13), rng.randrange(13), 80, 2**31 - 1])


def _step(rng: random.Random) -> Any:
    kind = rng.random()
    if kind < 0.3:
        return {"typed": [rng.randrange(31), rng.randrange(81), rng.choice([_text(rng), rng.choice(edits.LINES)])]}
    if kind < 0.5:
        place = _place(rng)
        return [[*place, *place, rng.choice(edits.PIECES)]]
    if kind < 0.96:
        return [_change(rng) for _ in range(rng.randint(1, MAX_CHANGES))]
    return _text(rng) if kind < 0.98 else {"reopen": _text(rng)}


def _change(rng: random.Random) -> list[Any]:
    start, end = sorted([_place(rng), _place(rng)])
    return [*start, *(end if rng.random() < 0.3 else start), _text(rng)]


def keystrokes_of(rng: random.Random) -> dict[str, Any]:
    """Return a piece of this package's source to be typed."""
    source = rng.choice(_sources())
    start = rng.randrange(max(1, len(source) - MAX_KEYSTROKES))
    return {"source": source[start : start + MAX_KEYSTROKES], "every": rng.choice([20, 40, 80])}


@cache
def _sources() -> list[str]:
    return [path.read_text("utf-8") for path in sorted((ROOT / "starcoder_lsp").rglob("*.py"))]


def messages_of(rng: random.Random) -> dict[str, Any]:
    """Return messages, of which four in five are mutated."""
    sent: list[dict[str, Any]] = []
    for _ in range(N_MESSAGES):
        if rng.random() < 0.03:
            sent.append({"raw": rng.choice(messages.RAW).decode("latin-1")})
            continue
        method = rng.choice(messages.OFTEN if rng.random() < 0.3 else messages.METHODS)
        params, is_request = rng.choice(_pool()[method])
        n_mutations = rng.choice([0, 1, 1, 2, 3])
        mutations = [(rng.choice(messages.WAYS), rng.randrange(61), rng.choice(_junk())) for _ in range(n_mutations)]
        is_sent_otherwise = rng.random() < 0.2
        sent.append(messages.built(method, params, mutations, is_request is not is_sent_otherwise))
    return {"messages": sent, "replies": rng.sample(_junk(), 3)}


@cache
def _pool() -> dict[str, list[tuple[Any, bool]]]:
    """Return parameters by method, each with whether the method is a request."""
    return {
        method: [
            (params, messages.is_request(method)) for params in drawn(messages.params_of(method), N_OF_A_METHOD, 0)
        ]
        for method in messages.METHODS
    }


@cache
def _junk() -> list[Any]:
    return drawn(messages.JUNK, N_JUNK, 0)


def files_of(rng: random.Random) -> dict[str, Any]:
    """Return files that are open at once."""
    return {"files": [_file(rng) for _ in range(N_FILES)]}


def _file(rng: random.Random) -> dict[str, Any]:
    return {
        "language": rng.choice(files.LANGUAGES),
        "parts": [_part(rng) for _ in range(rng.randint(1, 6))],
        "cursor": rng.choice([1.0, rng.random()]),
        "isCompleted": rng.random() < SHARE_COMPLETED,
    }


def _part(rng: random.Random) -> list[Any]:
    if rng.random() < 0.25:
        cuts = [(rng.random(), rng.random()) for _ in range(rng.randrange(4))]
        return [files.broken(rng.choice(files.SOURCES), cuts), 1]
    pieces = rng.choice([files.OPENERS, files.OPENERS, files.ODD, files.CLOSERS])
    unit = rng.choice(pieces) + (rng.choice(files.OPENERS) if rng.random() < 0.3 else "")
    return [unit, rng.choice([rng.randint(1, 3), rng.randint(1, 3), rng.choice(files.MANY)])]


def cases(kind: str, rng: random.Random) -> Iterator[dict[str, Any]]:
    """Yield cases of a kind without end."""
    while True:
        if kind == "workspaces":
            yield from drawn(workspaces.cases(10), N_WORKSPACES, rng.getrandbits(32))
        else:
            yield MAKERS[kind](rng)


MAKERS: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "edits": edits_of,
    "keystrokes": keystrokes_of,
    "messages": messages_of,
    "files": files_of,
}
