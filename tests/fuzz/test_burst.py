"""Many requests at once: each gets one reply, and the newest request of each document gets an answer."""

from __future__ import annotations

import pytest

from tests.fuzz.burst import SETTINGS, burst
from tests.fuzz.peer import Peer


@pytest.mark.timeout(600)  # the machine may be busy
def test_each_of_many_requests_gets_one_reply() -> None:
    with Peer(settings=SETTINGS | {"completion": {"maxTokens": 4, "timeoutMs": 60_000}}) as peer:
        answers = burst(peer, 100, 5)
        assert len(answers) == 100
        assert not [each.message for each in answers if "error" in each.message]
        assert sum(each.result is not None for each in answers) >= 5, "the newest of each document is answered"
        peer.stop()
