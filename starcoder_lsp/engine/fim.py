"""Fill-in-the-middle prompt formats: from prefix and suffix to the token ids that a model was trained on.

The only module that knows a model family's markers. Their ids are read from the vocabulary by their text, never
written down here. Sources: the StarCoder paper (arXiv:2305.06161) for the file format, the StarCoder2 paper
(arXiv:2402.19173, section 5) for the repository format, in which the path stands *after* `<fim_prefix>`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from starcoder_lsp.engine.engine import EngineError, Prompt
from starcoder_lsp.engine.tokens import Tokenizer

Ids = Sequence[int]

MARKERS_BY_ARCHITECTURE = {
    "starcoder2": {
        "end": "<|endoftext|>",
        "prefix": "<fim_prefix>",
        "middle": "<fim_middle>",
        "suffix": "<fim_suffix>",
        "pad": "<fim_pad>",
        "repo": "<repo_name>",
        "file": "<file_sep>",
    },
    # The original StarCoder marks files otherwise (<reponame>, <filename>) and was not trained to infill across them.
    "starcoder": {
        "end": "<|endoftext|>",
        "prefix": "<fim_prefix>",
        "middle": "<fim_middle>",
        "suffix": "<fim_suffix>",
        "pad": "<fim_pad>",
    },
}


@frozen
class RepositoryFile:
    """One other file in a repository prompt: its path's and its text's token ids."""

    path_ids: tuple[int, ...]
    text_ids: tuple[int, ...]


@frozen
class FimFormat:
    """The markers of one loaded model, as ids. `repo` and `file` are `None` where the family has no such format."""

    name: str
    prefix: int
    middle: int
    suffix: int
    stop_ids: frozenset[int]
    repo: int | None = None
    file: int | None = None

    def psm(self, prefix_ids: Ids, suffix_ids: Ids, middle_ids: Ids = (), heal: bytes = b"") -> Prompt:
        """Prefix, suffix, middle: the order that most of the training data has.

        `middle_ids` and `heal` are what of the middle is already known: the text between an anchor and the cursor.
        """
        ids = (self.prefix, *prefix_ids, self.suffix, *suffix_ids, self.middle, *middle_ids)
        return Prompt(ids, self.stop_ids, f"{self.name}/psm", heal)

    def spm(self, prefix_ids: Ids, suffix_ids: Ids) -> Prompt:
        """Suffix first, in the variant the family was trained with ("SPM v2"): the prefix runs on into the middle."""
        ids = (self.prefix, self.suffix, *suffix_ids, self.middle, *prefix_ids)
        return Prompt(ids, self.stop_ids, f"{self.name}/spm")

    def repository(
        self,
        repo_name_ids: Ids,
        files: Iterable[RepositoryFile],
        path_ids: Ids,
        prefix_ids: Ids,
        suffix_ids: Ids,
        middle_ids: Ids = (),
        heal: bytes = b"",
    ) -> Prompt:
        """Other files first, each with its path, then this file as PSM.

        `path_ids` of every file include the newline that follows the path; `middle_ids` and `heal` are as in `psm`.
        Raises `ValueError` if `has_repository` is false.
        """
        if self.repo is None or self.file is None:
            message = f"{self.name} has no repository format"
            raise ValueError(message)
        ids = [self.repo, *repo_name_ids]
        for other in files:
            ids += [self.file, *other.path_ids, *other.text_ids]
        ids += [self.file, self.prefix, *path_ids, *prefix_ids, self.suffix, *suffix_ids, self.middle, *middle_ids]
        return Prompt(tuple(ids), self.stop_ids, f"{self.name}/repository", heal)

    @property
    def has_repository(self) -> bool:
        """Whether `repository` may be called."""
        return self.repo is not None and self.file is not None


N_PSM_MARKERS = 3
"""Ids that `psm` and `spm` add to those of the text."""


def format_for(architecture: str, tokenizer: Tokenizer) -> FimFormat:
    """The format of a loaded model.

    Raises `EngineError` if the architecture is unknown or the vocabulary lacks one of the three infilling markers
    (a model that was never trained to infill).
    """
    markers = MARKERS_BY_ARCHITECTURE.get(architecture)
    if markers is None:
        known = ", ".join(MARKERS_BY_ARCHITECTURE)
        message = f"no fill-in-the-middle format is known for the architecture {architecture!r}; use one of {known}"
        raise EngineError(message)
    ids = {role: tokenizer.marker(text) for role, text in markers.items()}
    prefix, middle, suffix = ids["prefix"], ids["middle"], ids["suffix"]
    if prefix is None or middle is None or suffix is None:
        message = "the model's vocabulary has no <fim_prefix>, <fim_middle>, <fim_suffix>; use a model that can infill"
        raise EngineError(message)
    stop_ids = frozenset(token_id for token_id in ids.values() if token_id is not None)
    return FimFormat(architecture, prefix, middle, suffix, stop_ids, ids.get("repo"), ids.get("file"))
