"""The exchange that editor-configs/README.md shows is what the real server says."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.conftest import Wire
from tests.editors.conftest import block


def agrees(shown: Any, came: Any) -> bool:
    """Whether everything that is shown came; members may be left out."""
    if isinstance(shown, dict) and isinstance(came, dict):
        return all(name in came and agrees(value, came[name]) for name, value in shown.items())
    return shown == came


def test_the_exchange_is_what_the_server_says():
    wire = Wire()
    for line in block("Any other client", "text").splitlines():
        sender, shown = line[0], json.loads(line[2:])
        if sender == ">":
            wire.send({"jsonrpc": "2.0", **shown})
        else:
            wire.until(lambda came, shown=shown: agrees(shown, came))
    assert wire.process.wait(10) == 0
