"""Fill-in-the-middle prompts: from the texts around a cursor to the token ids that a model was trained on.

The layouts and markers are those of a row of `families.FAMILIES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TypeVar

from attrs import frozen

from starcoder_lsp.engine.engine import EngineError, Prompt
from starcoder_lsp.engine.families import FAMILIES, ModelFamily
from starcoder_lsp.engine.tokens import Tokenizer

Ids = Sequence[int]
Encode = Callable[[bytes], tuple[int, ...]]
Pieces = tuple[tuple[int, ...] | str, ...]
"""A prompt with gaps: token ids, and the name of the text that belongs in each gap."""
T = TypeVar("T")

_PIECE = re.compile(
    r"<(?P<marker>\w+)>|\{(?P<gap>prefix|suffix|middle|files|text)\}"
    r"|(?P<words>(?:\{repository\}|\{path\}|[^<{])+)"
)


@frozen
class OtherFile:
    """A file in a prompt beside the cursor's: its path, and the token ids of its text."""

    path: str
    text_ids: tuple[int, ...]


@frozen
class Frame:
    """A prompt without the three parts of the cursor's file. `name` is the layout's, for `explain`."""

    name: str
    pieces: Pieces

    @property
    def n_tokens(self) -> int:
        """Tokens of the frame itself."""
        return sum(len(piece) for piece in self.pieces if not isinstance(piece, str))


@frozen
class FimFormat:
    """The prompt format of one loaded model: a family's layouts, and its markers in this vocabulary.

    `markers` are the ids by role, of those that the vocabulary has. `frame` is that of a prompt without other files.
    """

    name: str
    family: ModelFamily
    markers: Mapping[str, int]
    stop_ids: frozenset[int]
    frame: Frame

    @property
    def prefix(self) -> int:
        """The marker of the prefix."""
        return self.markers["prefix"]

    @property
    def middle(self) -> int:
        """The marker of the middle."""
        return self.markers["middle"]

    @property
    def suffix(self) -> int:
        """The marker of the suffix."""
        return self.markers["suffix"]

    @property
    def has_repository(self) -> bool:
        """True if a prompt can have other files: the family was trained so, and the vocabulary has the markers."""
        layout = self.family.repository
        roles = {match["marker"] for match in _PIECE.finditer((layout or "") + self.family.file)} - {None}
        return layout is not None and roles <= self.markers.keys()

    def infill(
        self, prefix_ids: Ids, suffix_ids: Ids, middle_ids: Ids = (), heal: bytes = b"", frame: Frame | None = None
    ) -> Prompt:
        """Return the prompt for a gap between prefix and suffix. With a `frame` of other files, these stand in it too.

        `middle_ids` and `heal` are the known part of the middle: the text between an anchor and the cursor.
        """
        parts = {"prefix": prefix_ids, "suffix": suffix_ids, "middle": middle_ids}
        frame = frame or self.frame
        ids = chain.from_iterable(parts[piece] if isinstance(piece, str) else piece for piece in frame.pieces)
        return Prompt(tuple(ids), self.stop_ids, frame.name, heal)

    def repository_frame(self, encode: Encode, repository: str, path: str, files: Iterable[OtherFile] = ()) -> Frame:
        """Return the frame of a prompt with other `files`, in the order that `in_order` gives them.

        `path` is that of the cursor's file. Raises `ValueError` if `has_repository` is false.
        """
        if self.family.repository is None or not self.has_repository:
            message = f"{self.name} has no repository format"
            raise ValueError(message)
        names = {"repository": repository, "path": path}
        file_ids = tuple(chain.from_iterable(self._file_ids(encode, file) for file in files))
        pieces = _fill(self.family.repository, self.markers, encode, names, {"files": file_ids})
        return Frame(f"{self.name}/repository", tuple(pieces))

    def n_file_tokens(self, encode: Encode, file: OtherFile) -> int:
        """Return how many tokens one of the other files takes in a prompt."""
        return len(self._file_ids(encode, file))

    def in_order(self, files: Iterable[T]) -> tuple[T, ...]:
        """Return other files, given with the most useful first, in their order in a prompt."""
        ordered = tuple(files)
        return ordered[::-1] if self.family.is_best_file_last else ordered

    def _file_ids(self, encode: Encode, file: OtherFile) -> tuple[int, ...]:
        pieces = _fill(self.family.file, self.markers, encode, {"path": file.path}, {"text": file.text_ids})
        return tuple(chain.from_iterable(piece for piece in pieces if not isinstance(piece, str)))


def format_for(architecture: str, tokenizer: Tokenizer) -> FimFormat:
    """Return the format of a loaded model.

    Raises `EngineError` if the architecture is unknown, or if the vocabulary lacks one of the three infilling markers:
    then the model was never trained to infill.
    """
    family = FAMILIES.get(architecture)
    if family is None:
        known = ", ".join(FAMILIES)
        message = f"no fill-in-the-middle format is known for the architecture {architecture!r}; use one of {known}"
        raise EngineError(message)
    return make_format(architecture, family, tokenizer)


def make_format(name: str, family: ModelFamily, tokenizer: Tokenizer) -> FimFormat:
    """Return a family's format with the ids of a vocabulary. Raises `EngineError` as `format_for` does."""
    ids = {role: tokenizer.marker(text) for role, text in family.markers.items()}
    markers = {role: token_id for role, token_id in ids.items() if token_id is not None}
    needed = ("prefix", "middle", "suffix")
    if not markers.keys() >= set(needed):
        named = ", ".join(family.markers[role] for role in needed)
        message = f"the model's vocabulary has no {named}; use a model that can infill"
        raise EngineError(message)
    order = "psm" if family.infill.index("{prefix}") < family.infill.index("{suffix}") else "spm"
    frame = Frame(f"{name}/{order}", tuple(_fill(family.infill, markers, tokenizer.encode, {}, {})))
    return FimFormat(name, family, markers, frozenset(markers.values()), frame)


def _fill(
    layout: str, markers: Mapping[str, int], encode: Encode, names: Mapping[str, str], texts: Mapping[str, Ids]
) -> Iterator[tuple[int, ...] | str]:
    """Fill in the names and `texts` of a layout. Yield token ids, and the names of the gaps that stay open."""
    for match in _PIECE.finditer(layout):
        if match["marker"] is not None:
            yield (markers[match["marker"]],)
        elif match["words"] is not None:  # a path that is no UTF-8 has surrogates
            yield encode(match["words"].format_map(names).encode("utf-8", "surrogatepass"))
        else:
            gap = match["gap"]
            yield tuple(texts[gap]) if gap in texts else gap
