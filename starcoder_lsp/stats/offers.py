"""An answer as a session reports it to the log: its place in a document, and its suggestions."""

from __future__ import annotations

from attrs import frozen

from starcoder_lsp.stats.events import Measures


@frozen
class OfferedItem:
    """One suggestion as it is sent. `name` identifies it to the client, `features` are the gate's."""

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
