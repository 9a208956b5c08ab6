"""Accepted text followed through edits, against an oracle that gives each byte of the document an identity."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.stats.follow import Follower
from starcoder_lsp.stats.tracked import Remains, Splice, TrackedText

ACCEPTED = b"accepted(text, with) + parts"


class Identities:
    """A document as a list of bytes, each with its number in the accepted text, or `None`."""

    def __init__(self, before: bytes, text: bytes, after: bytes) -> None:
        self.bytes = list(before + text + after)
        self.names: list[int | None] = [None] * len(before) + list(range(len(text))) + [None] * len(after)

    @property
    def data(self) -> bytes:
        return bytes(self.bytes)

    def apply(self, splice: Splice) -> None:
        self.bytes[splice.start_byte : splice.end_byte] = splice.inserted
        self.names[splice.start_byte : splice.end_byte] = [None] * len(splice.inserted)

    def survivors(self) -> list[tuple[int, int]]:
        return [(at, name) for at, name in enumerate(self.names) if name is not None]


def random_splice(rng: Random, n_bytes: int, near: int) -> Splice:
    """Return an edit, mostly small and near a place, whose text occurs in no accepted text."""
    centre = near if rng.random() < 0.6 else rng.randint(0, n_bytes)
    start = min(n_bytes, max(0, centre + rng.randint(-40, 40)))
    end = start if rng.random() < 0.7 else min(n_bytes, start + rng.randint(0, 4 if rng.random() < 0.95 else 60))
    return Splice(start, end, b"#" * rng.choice([0, 1, 1, 2, 5]))


def test_positions_survive_ten_thousand_random_edits_around_accepted_text() -> None:
    n_edits = 0
    seed = 0
    while n_edits < 10_000:
        rng = Random(seed)
        seed += 1
        document = Identities(b"." * 300, ACCEPTED, b"." * 300)
        tracked = TrackedText(ACCEPTED, 300)
        while document.survivors() and n_edits < 10_000:
            batch, before = [], document.data
            for _ in range(rng.choice([1, 1, 1, 3])):
                splice = random_splice(rng, len(document.bytes), tracked.start_byte + len(ACCEPTED) // 2)
                document.apply(splice)
                batch.append(splice)
                n_edits += 1
            tracked.apply(batch, before, document.data)
            assert tracked.survivors() == document.survivors(), (seed, n_edits)
            standing = tracked.remains(document.data)
            assert standing is not None
            assert standing.share == len(document.survivors()) / len(ACCEPTED)
    assert seed > 1


@given(st.data())
def test_undone_edits_restore_the_accepted_text(data: st.DataObject) -> None:
    """After any single edits and their undo in reverse order, all of the text remains."""
    document = b"def f():\n    " + ACCEPTED + b"\n    return x\n"
    tracked = TrackedText(ACCEPTED, 13)
    undos = []
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(5, min(len(document), 60)))
        end = min(len(document), start + data.draw(st.integers(0, 12)))
        splice = Splice(start, end, data.draw(st.sampled_from([b"", b"x", b"accep", b"\n    "])))
        undos.append(Splice(start, start + len(splice.inserted), document[start:end]))
        before, document = document, document[:start] + splice.inserted + document[end:]
        tracked.apply([splice], before, document)
    for undo in reversed(undos):
        before, document = document, document[: undo.start_byte] + undo.inserted + document[undo.end_byte :]
        tracked.apply([undo], before, document)
    standing = tracked.remains(document)
    assert standing is not None
    assert (standing.share, standing.distance) == (1.0, 0.0)
    assert (tracked.start_byte, tracked.end_byte) == (13, 13 + len(ACCEPTED))


LINE = b"    call(accepted)\n"


@pytest.mark.parametrize(
    "splices",
    [
        [Splice(6, 6, b""), Splice(6, 25, b""), Splice(0, 0, LINE)],
        [Splice(0, 0, LINE), Splice(25, 44, b"")],
        [Splice(31, 31, LINE), Splice(6, 25, b"")],
        [Splice(0, 6, b""), Splice(19, 19, b"first\n")],
    ],
    ids=["cut, then pasted above", "pasted above, then cut", "pasted below, then cut", "the line above moved below"],
)
def test_moved_lines_count_as_kept(splices: list[Splice]) -> None:
    before = document = b"first\n" + LINE + b"last()\n"
    tracked = TrackedText(b"accepted", 15)
    for splice in splices:
        document = document[: splice.start_byte] + splice.inserted + document[splice.end_byte :]
    tracked.apply(splices, before, document)
    standing = tracked.remains(document)
    assert standing is not None
    assert (standing.share, standing.distance) == (1.0, 0.0)
    assert document[tracked.start_byte : tracked.end_byte] == b"accepted"


def test_lines_that_are_cut_and_pasted_later_count_as_kept() -> None:
    tracked = TrackedText(b"accepted", 15)
    tracked.apply([Splice(6, 25, b"")], b"first\n" + LINE + b"last()\n", cut := b"first\nlast()\n")
    tracked.apply([Splice(0, 0, b"x\n")], cut, b"x\n" + cut)
    tracked.apply([Splice(15, 15, LINE)], b"x\n" + cut, pasted := b"x\n" + cut + LINE)
    assert tracked.remains(pasted) == Remains(1.0, 0.0)


def test_the_fate_is_unknown_after_the_whole_document_was_replaced() -> None:
    tracked = TrackedText(b"accepted", 6)
    tracked.apply([Splice(0, 20, b"something else")], b"......accepted......", b"something else", is_whole=True)
    assert tracked.remains(b"something else") is None


def test_text_typed_over_the_accepted_one_is_not_kept() -> None:
    tracked = TrackedText(b"abcd", 2)
    tracked.apply([Splice(2, 6, b"wxyz")], b"x=abcd;", b"x=wxyz;")
    standing = tracked.remains(b"x=wxyz;")
    assert standing is not None
    assert (standing.share, standing.distance) == (0.0, 1.0)


@given(st.data())
def test_following_many_texts_equals_following_each_alone(data: st.DataObject) -> None:
    """The follower skips texts that an edit cannot change; the oracle applies each edit to each text."""
    rng = Random(data.draw(st.integers(0, 2**32)))
    texts = [b"text %d of the file" % number for number in range(data.draw(st.integers(1, 6)))]
    now, alone, follower = b"", [], Follower()
    for number, text in enumerate(texts):
        now += b"-" * rng.randint(0, 60)
        alone.append(TrackedText(text, len(now)))
        list(follower.accept(number, 0.0, len(now), text))
        now += text
    cut, near = b"", 0
    for _ in range(data.draw(st.integers(1, 60))):
        near = near if rng.random() < 0.8 else rng.randint(0, len(now))
        splices = [random_splice(rng, len(now), near)]
        chosen = rng.choice(alone)
        if rng.random() < 0.15:  # cut a whole text, or paste a cut one
            is_paste = cut and rng.random() < 0.6
            paste = Splice(splices[0].start_byte, splices[0].start_byte, cut)
            splices = [paste if is_paste else Splice(chosen.start_byte, chosen.end_byte, b"")]
            cut = cut if is_paste else now[chosen.start_byte : chosen.end_byte]
        elif rng.random() < 0.1:
            after_first = len(now) + splices[0].shift
            splices.append(random_splice(rng, after_first, rng.randint(0, after_first)))
        before = now
        for splice in splices:
            now = now[: splice.start_byte] + splice.inserted + now[splice.end_byte :]
        follower.edited(splices, before, now, is_whole=False)
        for text in alone:
            text.apply(splices, before, now)
    checked = {check.suggestion: check.share for check in follower.due(31.0, now)}
    survivors = [part.survivors() for each in follower.followed.values() for part in each.parts]
    assert survivors == [text.survivors() for text in alone]
    standing = [text.remains(now) for text in alone]
    assert checked == {number: each.share if each else None for number, each in enumerate(standing)}
