"""Show a page of several languages, such as HTML with scripts, as a text of the cursor's language alone.

All other text is replaced by blanks. So offsets and lines stay the same, and scopes and imports that are found in one
text are valid in the other. `grammars/embedded.toml` has patterns for where a language begins and ends. No tree is
needed: the content of a tag that is not closed yet still has its language.
"""

from __future__ import annotations

import re
import threading
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

from attrs import evolve, field, frozen

from starcoder_lsp.documents.documents import Snapshot, fresh, language_of, spliced
from starcoder_lsp.documents.languages import grammars_folder, language_for
from starcoder_lsp.documents.text import Text, splice_between
from starcoder_lsp.lru import LruDict

MAX_BYTES: Final = 256 * 1024
"""Larger documents are taken as text of the host's language alone."""
MAX_LOCAL_BYTES: Final = 2048
"""The bytes before the cursor that are searched for the region of a single expression, such as `{{ name }}`."""
MAX_DEPTH: Final = 3
"""A script in the HTML of a PHP file is two languages deep."""
MAX_CACHED: Final = 8
"""The most texts kept, so that the next one is parsed incrementally."""
BLANKED: Final = {fill: bytes(byte if byte in b"\r\n\t" else fill[0] for byte in range(256)) for fill in (b" ", b"_")}
"""A byte translation table for each character that fills a region. Line ends and tabs stay."""


@frozen
class Region:
    """A kind of region in a host that may hold another language; `grammars/README.md` describes the fields."""

    begin: re.Pattern[bytes]
    end: str
    language: str = ""
    named: re.Pattern[bytes] | None = None
    is_apart: bool = False
    is_local: bool = False
    fill: bytes = b" "
    before: bytes = b""
    after: bytes = b""

    def end_for(self, begun: re.Match[bytes]) -> re.Pattern[bytes]:
        """Return the pattern of the end of a region that begins with `begun`."""
        if "fence" not in self.begin.groupindex:
            return _compiled(self.end)
        return _compiled(self.end.replace("{fence}", re.escape(begun["fence"].decode())))


@frozen
class Host:
    """The regions of a host, tried in order at each byte, and the language of the text between them."""

    regions: tuple[Region, ...]
    names: dict[str, str] = field(factory=dict, eq=False)
    outside: str = ""
    separator: bytes = b""

    def language_in(self, region: Region, begun: re.Match[bytes]) -> str:
        """Return the id of the language in a region, by the name at its beginning if it has one; empty if unknown."""
        named = region.named.search(begun.group()) if region.named is not None else None
        if named is None:
            return region.language
        name = named[1].decode("utf-8", "replace").lower()
        known = language_for(self.names.get(name, name), f"x.{name}")
        return "" if known.name == "Plain text" else known.id


@frozen
class Place:
    """A region in a text: its content is `[start_byte, end_byte)`, with its delimiters it ends at `outer_end_byte`."""

    start_byte: int
    end_byte: int
    outer_start_byte: int
    outer_end_byte: int
    language: str
    region: Region
    end: re.Pattern[bytes]


@frozen
class Level:
    """One language inside another: the one of `place`, or of the text between the places if that is `None`."""

    host: Host
    language: str
    place: Place | None

    def mask(self, data: bytes, places: Sequence[Place]) -> bytes:
        """Return `data` with blanks in place of all text in other languages."""
        if self.place is None:
            kept, at = list[bytes](), 0
            for place in places:
                filled = data[place.outer_start_byte : place.outer_end_byte].translate(BLANKED[place.region.fill])
                kept += [data[at : place.outer_start_byte], filled]
                at = place.outer_end_byte
            return b"".join([*kept, data[at:]])
        blank = bytearray(data.translate(BLANKED[b" "]))
        own = [each for each in places if each.language == self.language and not each.region.is_apart]
        is_alone = self.place.region.is_apart or self.place.region.is_local
        for place in [self.place] if is_alone else own:
            blank[place.start_byte : place.end_byte] = data[place.start_byte : place.end_byte]
            if place.end_byte < place.outer_end_byte:
                after = place.region.after or self.host.separator
                blank[place.end_byte : place.end_byte + len(after)] = after
            if place.outer_start_byte < place.start_byte and place.region.before:
                blank[place.start_byte - len(place.region.before) : place.start_byte] = place.region.before
        return bytes(blank)

    def masked(self, text: bytes) -> bytes:
        """Return `text`, which is inserted at the cursor, with blanks in place of other languages that begin in it."""
        if self.place is None:
            return self.mask(text, list(_places(self.host, text)))
        ended = self.place.end.search(text)
        if ended is None:
            return text
        end_byte, outer_end_byte = ended.span()
        inside = evolve(self.place, start_byte=0, end_byte=end_byte, outer_start_byte=0, outer_end_byte=outer_end_byte)
        places = [inside, *_places(self.host, text, ended.end())]
        return evolve(self, place=inside).mask(text, places)


@frozen
class Embedded:
    """A document in its language at the cursor. `snapshot` is the document itself if that has only one language."""

    snapshot: Snapshot
    levels: tuple[Level, ...] = ()

    def begins_at(self, byte: int) -> bool:
        """Return whether the language begins at a byte: right behind a tag, for example."""
        place = self.levels[-1].place if self.levels else None
        return place is not None and place.start_byte == byte

    def masked(self, text: bytes) -> bytes:
        """Return a text that is inserted at the cursor with blanks as in `snapshot`, of the same length."""
        for level in self.levels:
            text = level.masked(text)
        return text


def embedded_at(snapshot: Snapshot, cursor_byte: int) -> Embedded:
    """Return the document in the language at the cursor. Safe to call from any thread."""
    own = language_of(snapshot).id
    data, language, levels = snapshot.text.data, own, list[Level]()
    if own not in _hosts() or len(data) > MAX_BYTES:
        return Embedded(snapshot)
    while language in _hosts() and len(levels) < MAX_DEPTH:
        level, places = _level_at(_hosts()[language], data, cursor_byte)
        if level is None or level.language == language:
            break
        data, language = level.mask(data, places), level.language
        levels.append(level)
    return Embedded(_snapshot(snapshot, data, language), tuple(levels)) if levels else Embedded(snapshot)


def embedded_documents(snapshot: Snapshot) -> tuple[Snapshot, ...]:
    """Return the document in each of its other languages, those of single expressions left out."""
    host = _hosts().get(language_of(snapshot).id)
    data = snapshot.text.data
    if host is None or len(data) > MAX_BYTES:
        return ()
    first = dict[str, int]()
    for place in _places(host, data):
        if place.language and not (place.region.is_apart or place.region.is_local):
            first.setdefault(place.language, place.start_byte)
    found = (embedded_at(snapshot, start_byte).snapshot for start_byte in first.values())
    return tuple(each for each in found if each is not snapshot)


def _level_at(host: Host, data: bytes, cursor_byte: int) -> tuple[Level | None, list[Place]]:
    """Return the language at the cursor, or `None` for the host's own, and all places of the text."""
    places = list(_places(host, data))
    place = next((each for each in places if each.outer_end_byte >= cursor_byte), None)
    if place is None or place.outer_start_byte >= cursor_byte:
        place = _local_place(host, data, cursor_byte, places)
    elif not place.start_byte <= cursor_byte <= place.end_byte:
        place = None
    language = place.language if place is not None else host.outside
    return Level(host, language, place) if language else None, places


def _local_place(host: Host, data: bytes, cursor_byte: int, places: Sequence[Place]) -> Place | None:
    """Return the region of a single expression around a cursor that is in no other region."""
    ends = (place.outer_end_byte for place in places if place.outer_end_byte <= cursor_byte)
    at = max(cursor_byte - MAX_LOCAL_BYTES, max(ends, default=0))
    for place in _places(host, data, at, is_local=True):
        if place.start_byte > cursor_byte:
            break
        if cursor_byte <= place.end_byte:
            return place
    return None


def _places(host: Host, data: bytes, at: int = 0, *, is_local: bool = False) -> Iterator[Place]:
    """Yield the regions of a text in order, from a byte outside of all of them. An unclosed one goes to the text's end.

    With `is_local`, yield only regions of single expressions, otherwise only the others.
    """
    nexts = {region: region.begin.search(data, at) for region in host.regions if region.is_local == is_local}
    while True:
        for region, match in nexts.items():
            if match is not None and match.start() < at:
                nexts[region] = region.begin.search(data, at)
        begun = min(
            ((match.start(), n, region, match) for n, (region, match) in enumerate(nexts.items()) if match is not None),
            default=None,
        )
        if begun is None:
            return
        _, _, region, match = begun
        end = region.end_for(match)
        ended = end.search(data, match.end())
        end_byte, outer_end = ended.span() if ended is not None else (len(data), len(data))
        language = host.language_in(region, match)
        yield Place(match.end(), end_byte, match.start(), outer_end, language, region, end)
        at = max(outer_end, match.end())


_cached: Final[LruDict[tuple[str, str], Snapshot]] = LruDict(MAX_CACHED)
"""The newest text of a document in each of its languages."""
_lock: Final = threading.Lock()


def _snapshot(snapshot: Snapshot, data: bytes, language: str) -> Snapshot:
    """Return `data` as a document of `language`, whose tree derives from the one before, if there is one."""
    key = snapshot.uri, language
    with _lock:
        known = _cached.use(key)
        if known is None:
            known = fresh(snapshot.uri, language, snapshot.version, Text.from_bytes(data))
        elif known.text.data != data:
            known = spliced(known, *splice_between(known.text.data, data))
        known = evolve(known, version=snapshot.version, input_edits=())
        _cached[key] = known
        return known


@cache
def _compiled(pattern: str) -> re.Pattern[bytes]:
    return re.compile(pattern.encode(), re.MULTILINE)


@cache
def _hosts() -> dict[str, Host]:
    """Return the tables of `embedded.toml` by the host's id."""
    tables = tomllib.loads((grammars_folder() / "embedded.toml").read_text(encoding="utf-8"))
    return {name: _host(table) for name, table in tables.items()}


def _host(table: dict[str, Any]) -> Host:
    return Host(
        regions=tuple(_region(row) for row in table["regions"]),
        names=table.get("names", {}),
        outside=table.get("outside", ""),
        separator=table.get("separator", "").encode(),
    )


def _region(row: dict[str, Any]) -> Region:
    signs = {key: row[key].encode() for key in ("fill", "before", "after") if key in row}
    return Region(
        begin=_compiled(row["begin"]),
        end=row["end"],
        language=row.get("language", ""),
        named=_compiled(row["named"]) if "named" in row else None,
        is_apart=row.get("is_apart", False),
        is_local=row.get("is_local", False),
        **signs,
    )
