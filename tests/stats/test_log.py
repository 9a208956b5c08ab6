"""The log takes messages in any order: a client may report an outcome late, or of a document that is closed."""

from __future__ import annotations

from random import Random

import pytest
from attrs import define, field

from starcoder_lsp.stats.answers import Region
from starcoder_lsp.stats.events import Checked, Conditions, Ended, Event, Measures, Offered
from starcoder_lsp.stats.log import Clock, SuggestionLog
from starcoder_lsp.stats.offers import OfferedItem, Place
from starcoder_lsp.stats.tracked import Splice

TEXTS = (b"foo(bar)", b"foo\n  bar\n", b"f", b"foo bar baz", "é = 1".encode())


@define
class Client:
    """A client that sends anything. `insertions` has the text that may come next in each document, and its place."""

    dice: Random
    events: list[Event] = field(factory=list)
    names: list[str] = field(factory=list)
    documents: dict[str, bytes] = field(factory=lambda: {"a": b"one\ntwo\n", "b": b"x = 1\n"})
    insertions: dict[str, tuple[int, bytes]] = field(factory=dict)
    now_s: float = 0.0
    log: SuggestionLog = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.log = SuggestionLog(self, clock=Clock(lambda: round(self.now_s * 1000), lambda: self.now_s))

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def offer(self, uri: str) -> None:
        data = self.documents[uri]
        at, items = self.dice.randint(0, len(data)), []
        for _ in range(self.dice.choice([1, 1, 2])):
            text = self.dice.choice(TEXTS)
            self.names.append(str(len(self.names)))
            items.append(OfferedItem(self.names[-1], text, self.dice.randint(0, 1), Measures(len(text.decode()), 1)))
            self.insertions[uri] = at, text
        self.log.offer(Place(uri, at, data), items, Conditions("python", self.dice.choice(["", "rewrite: it"])))

    def edit(self, uri: str) -> None:
        before = data = self.documents[uri]
        splices = []
        for _ in range(self.dice.choice([1, 1, 2])):
            at, text = self.insertions.get(uri, (0, b""))
            if at <= len(data) and text and self.dice.random() < 0.7:
                n = self.dice.randint(1, len(text))
                splices.append(Splice(at, at, text[:n]))
                self.insertions[uri] = at + n, text[n:]
            else:
                at = self.dice.randint(0, len(data))
                splices.append(
                    Splice(at, min(len(data), at + self.dice.choice([0, 1, 5])), self.dice.choice([b"", *TEXTS]))
                )
            data = data[: splices[-1].start_byte] + splices[-1].inserted + data[splices[-1].end_byte :]
        region = Region.of(splices)
        kept = before[: region.start_byte], before[region.old_end_byte :]
        assert data == kept[0] + data[region.start_byte : region.new_end_byte] + kept[1]
        self.documents[uri] = data
        self.log.edited(uri, "python", splices, data, is_whole=self.dice.random() < 0.1)

    def report(self, _uri: str) -> None:
        if self.names:
            log = self.log
            self.dice.choice([log.accept, log.accept_part, log.reject, log.show])(self.dice.choice(self.names[-3:]))

    def close(self, uri: str) -> None:
        self.log.close(uri)

    def ask_rewrite(self, uri: str) -> None:
        self.log.ask_rewrite(uri, "rewrite: it", self.dice.randint(0, len(self.documents[uri])))

    def pause(self, _uri: str) -> None:
        self.now_s += self.dice.choice([0.1, 40.0, 700.0])
        self.log.tick()


@pytest.mark.parametrize("first_seed", range(0, 400, 100))
def test_messages_may_come_in_any_order(first_seed: int) -> None:
    n_ended = n_checked = 0
    for seed in range(first_seed, first_seed + 100):
        client = Client(Random(seed))
        actions = [
            client.offer,
            client.edit,
            client.edit,
            client.report,
            client.close,
            client.ask_rewrite,
            client.pause,
        ]
        for _ in range(40):
            client.dice.choice(actions)(client.dice.choice("ab"))
        client.log.end()
        offered = {event.suggestion: event.measures for event in client.events if isinstance(event, Offered)}
        ended = [event for event in client.events if isinstance(event, Ended)]
        checked = [event for event in client.events if isinstance(event, Checked)]
        assert {event.suggestion for event in ended} == set(offered)
        assert all(event.n_chars <= offered[event.suggestion].n_chars for event in ended)
        assert all(event.share is None or 0 <= event.share <= 1 for event in checked)
        n_ended, n_checked = n_ended + len(ended), n_checked + len(checked)
    assert min(n_ended, n_checked) > 100
