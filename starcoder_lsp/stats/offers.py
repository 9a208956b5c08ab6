"""An answer as a session tells it to the record: its place in a document, and the suggestions that it offers."""

from __future__ import annotations

from attrs import frozen

from starcoder_lsp.stats.events import Measures


@frozen
class OfferedItem:
    """One suggestion as it is sent. `name` is what the client calls it, `features` what the gate knows of it."""

    name: str
    text: bytes
    n_replaced_bytes: int
    measures: Measures
    features: tuple[float, ...] = ()


@frozen
class Place:
    """The place of an answer: a byte of the document `data`, with keyed hashes of its path and its root folder."""

    uri: str
    start_byte: int
    data: bytes
    document: str = ""
    repository: str = ""
