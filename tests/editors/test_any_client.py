"""The exchange shown in editor-configs/README.md is the one of the real server."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.conftest import Wire
from tests.editors.conftest import block


def agrees(shown: Any, came: Any) -> bool:
    """Return whether `came` has everything in `shown`, which may leave members out."""
    if isinstance(shown, dict) and isinstance(came, dict):
        return all(name in came and agrees(value, came[name]) for name, value in shown.items())
    return shown == came


def test_the_shown_exchange_is_that_of_the_server():
    wire = Wire()
    for line in block("Any other client", "text").splitlines():
        sender, shown = line[0], json.loads(line[2:])
        if sender == ">":
            wire.send({"jsonrpc": "2.0", **shown})
        else:
            wire.until(lambda came, shown=shown: agrees(shown, came))
    assert wire.process.wait(10) == 0
