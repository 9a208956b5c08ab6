"""Many requests at once: `python -m tests.fuzz.burst` sends 500 for 20 documents, and prints the times of replies."""

from __future__ import annotations

import argparse

from starcoder_lsp.percentile import percentile
from tests.fuzz.peer import Answer, Peer

SOURCE = "import os\n\n\ndef read_{number}(path):\n    with open(path) as file:\n        return file.\n"
CURSOR = (5, 20)
SETTINGS = {"debounce": {"mode": "off"}, "host": {"shared": False}}
"""All other settings have their defaults."""


def burst(peer: Peer, n_requests: int, n_documents: int) -> list[Answer]:
    """Open documents, send all requests in one go, and return the replies, in the order in which they came."""
    uris = [f"untitled:{peer.new_id()}.py" for _ in range(n_documents)]
    for number, uri in enumerate(uris):
        peer.open(uri, SOURCE.format(number=number), "python")
    asked = [peer.complete(uris[number % n_documents], *CURSOR) for number in range(n_requests)]
    answers = [peer.answer(number) for number in asked]
    peer.settle()
    for uri in uris:
        peer.close_document(uri)
    return sorted(answers, key=lambda each: each.elapsed_ms)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--documents", type=int, default=20)
    arguments = parser.parse_args()
    with Peer(settings=SETTINGS) as peer:
        answers = burst(peer, arguments.requests, arguments.documents)
    elapsed_ms = [each.elapsed_ms for each in answers]
    n_items = sum(bool((each.result or {}).get("items")) for each in answers)
    n_null = sum("result" in each.message and each.result is None for each in answers)
    n_errors = sum("error" in each.message for each in answers)
    print(f"{len(answers)} replies: {n_items} with a suggestion, {n_null} null, {n_errors} errors")
    print(
        f"ms: p50 {percentile(elapsed_ms, 0.5):.0f}, p95 {percentile(elapsed_ms, 0.95):.0f}, last {elapsed_ms[-1]:.0f}"
    )


if __name__ == "__main__":
    main()
