"""Training rows: pieces of real files, laid out as StarCoder2 was trained.

A row is token ids and a loss weight for each. A row holds several documents, and a document is one of:

- files left to right: one, or several of a package in the repository format;
- a file with a hole, as PSM (`<fim_prefix>` P `<fim_suffix>` S `<fim_middle>` M) or as SPM v2
  (`<fim_prefix><fim_suffix>` S `<fim_middle>` P M);
- the same as the last file of the repository format, behind files that it imports or that stand beside it.

Most holes begin at a line's start, as the server's prompts do, which lay out the cursor's line behind `<fim_middle>`.
Behind other files the hole is, where there is one, a line with a name that the other file has and the shown part of its
own file has not: only such holes teach the model to look there.

Rows are drawn from token ids alone. A cut inside a token encodes the two halves anew.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from demo_model.text_index import Cut, Ids, Vocabulary, common_names, find_lines
from demo_model.token_file import TokenFile

END, PREFIX, MIDDLE, SUFFIX, _PAD, REPO, FILE_SEP = range(7)
MIDDLE_WEIGHT = 5.0
"""Weight of a middle's tokens: they are one in ten, and the ones that count."""
END_WEIGHT = 5.0
"""Weight of a middle's end: the model must learn to stop."""
LEFT_TO_RIGHT = 0.15
"""Share of documents that are one file left to right."""
REPOSITORY_LEFT_TO_RIGHT = 0.05
REPOSITORY = 0.35
"""Share of documents with a hole behind other files, where the package has any."""
SPM = 0.3
"""Share of SPM among the documents with a hole."""
LONGEST_HOLE_LINES = 24
LONGEST_HOLE_TOKENS = 200
COMMENTS_SKIPPED = 0.7
"""Share of comments that are not drawn as the place of a hole: users want code."""
COMMENT_MARKS = {"python": b"#", "ruby": b"#", "shellscript": b"#", "sql": b"--", "html": b"<!--", "markdown": b"<!--"}
"""What a line of comment begins with; in the other languages with `//`, `/*` or `*`."""
COMMON_NAME = 0.01
"""Names that are in more than this share of the files tell nothing about another file."""
Piece = Ids | Sequence[int]
Row = tuple[NDArray[np.int64], NDArray[np.float32]]


def choose_positions(
    weights: NDArray[np.float32], n_chosen: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Choose the positions of a row at which the loss is computed, and their weights.

    `weights` are those of the row's tokens. Every middle counts, and as many other tokens as there is room for, with
    their weight raised so that their sum stays what it is. A position is that of the token before, which predicts.
    """
    expected = weights[1:]
    important, others = np.flatnonzero(expected > 1), np.flatnonzero((expected > 0) & (expected <= 1))
    if len(important) > n_chosen:
        important = rng.choice(important, n_chosen, replace=False)
    n_others = min(n_chosen - len(important), len(others))
    if n_others < len(others):
        raised = len(others) / n_others if n_others else 0.0
        others = rng.choice(others, n_others, replace=False)
    else:
        raised = 1.0
    n_missing = n_chosen - len(important) - n_others
    positions = np.concatenate([important, others, np.zeros(n_missing, np.int64)])
    found = np.concatenate([expected[important], expected[others] * raised, np.zeros(n_missing)])
    return positions, found.astype(np.float32)


@dataclass
class Document:
    """Pieces of token ids, and the weight of each piece."""

    pieces: list[Piece] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    n_tokens: int = 0

    def add(self, weight: float, *pieces: Piece) -> None:
        """Append `pieces`, all with the same weight."""
        for piece in pieces:
            if len(piece):
                self.pieces.append(piece)
                self.weights.append(weight)
                self.n_tokens += len(piece)


class Corpus:
    """The files of a token file with their lines, ready to be drawn from."""

    def __init__(self, tokens: TokenFile, tokenizer: Tokenizer, *, held_out: bool = False) -> None:
        """Take the held-out files, or the others."""
        self.files = [file for file in tokens.files if file.held_out == held_out]
        self.bounds = [0, *accumulate(len(file.ids) for file in self.files)]
        self.ids: Ids = np.concatenate([file.ids for file in self.files])
        self.vocabulary = Vocabulary(tokenizer)
        self.lines = find_lines(self.ids, self.bounds, self.vocabulary)
        self.common = common_names(self.ids, self.bounds, self.vocabulary, COMMON_NAME)
        self.is_comment = self.find_comments()
        self.package_bounds: list[tuple[int, int]] = []
        """For each file the numbers of its package's first file and of the one behind its last."""
        first = 0
        for i, file in enumerate(self.files):
            if i + 1 == len(self.files) or self.files[i + 1].package != file.package:
                self.package_bounds += [(first, i + 1)] * (i + 1 - first)
                first = i + 1

    def find_comments(self) -> NDArray[np.bool_]:
        """Mark the lines that begin with a comment's mark."""
        pieces = [piece.strip(b" \t") for piece in self.vocabulary.pieces]
        first_tokens = self.ids[np.minimum(self.lines.first_solid, len(self.ids) - 1)]
        found = np.zeros(len(first_tokens), bool)
        is_marked = {
            mark: np.array([piece.startswith(mark) for piece in pieces]) for mark in set(COMMENT_MARKS.values())
        }
        others = np.array([piece.startswith((b"//", b"/*", b"*")) for piece in pieces])
        for i, file in enumerate(self.files):
            own = slice(int(self.lines.first_of_file[i]), int(self.lines.first_of_file[i + 1]))
            table = is_marked[COMMENT_MARKS[file.language]] if file.language in COMMENT_MARKS else others
            found[own] = table[first_tokens[own]]
        return found

    def span(self, start: Cut, end: Cut) -> list[Piece]:
        """The text between two places; a token that is cut is encoded anew."""
        pieces, encode = self.vocabulary.pieces, self.vocabulary.encode
        if start.token == end.token:
            return [encode(pieces[self.ids[start.token]][start.offset : end.offset])] if start < end else []
        found: list[Piece] = []
        first = start.token
        if start.offset:
            found.append(encode(pieces[self.ids[start.token]][start.offset :]))
            first += 1
        found.append(self.ids[first : end.token])
        if end.offset:
            found.append(encode(pieces[self.ids[end.token]][: end.offset]))
        return found

    def text(self, text: str) -> tuple[int, ...]:
        """Token ids of a path or a name."""
        return self.vocabulary.encode(text.encode())


class Sampler:
    """Draws rows from a corpus."""

    def __init__(self, corpus: Corpus, seed: int, favoured: Collection[str] = ()) -> None:
        """Draw from a corpus; lines of the `favoured` languages twice as often as the others."""
        self.corpus = corpus
        self.rng = random.Random(seed)
        is_favoured = np.array([file.language in favoured for file in corpus.files])
        self.kept = np.where(is_favoured | ~is_favoured.any(), 1.0, 0.5)
        """For each file the share of its drawn lines that are kept."""

    def row(self, n_tokens: int) -> Row:
        """One row of exactly `n_tokens + 1` tokens, several documents if they are short."""
        pieces: list[Piece] = []
        weights: list[float] = []
        n_row = 0
        while n_row < n_tokens + 1 - 48:
            room = n_tokens + 1 - n_row
            # Short documents too: each has a hole, and holes are what is to be learnt.
            document = self.document(self.document_length(room))
            pieces += document.pieces
            weights += document.weights
            n_row += document.n_tokens
        n_missing = n_tokens + 1 - n_row
        if n_missing > 0:
            pieces.append([END] * n_missing)
            weights.append(0.0)
        ids = np.concatenate(pieces).astype(np.int64)[: n_tokens + 1]
        return ids, np.repeat(np.array(weights, np.float32), [len(piece) for piece in pieces])[: n_tokens + 1]

    def document_length(self, room: int) -> int:
        """Draw how long the next document may be: often all that a row has room for, else rather short than long."""
        if room < 224 or self.rng.random() < 0.3:
            return room
        return int(192 * (room / 192) ** self.rng.random())

    def document(self, n_tokens: int) -> Document:
        """One document of about `n_tokens` tokens, never more than a row has room for."""
        corpus, rng = self.corpus, self.rng
        file, line = self.draw_line()
        kind = rng.random()
        if kind < LEFT_TO_RIGHT or n_tokens < 96:
            return self.left_to_right(file, line, n_tokens)
        if kind < LEFT_TO_RIGHT + REPOSITORY_LEFT_TO_RIGHT and n_tokens >= 256:
            return self.repository_left_to_right(file, n_tokens)
        head = Document()
        hole = None
        path: Piece = ()
        if kind < LEFT_TO_RIGHT + REPOSITORY_LEFT_TO_RIGHT + REPOSITORY and n_tokens >= 320:
            n_head = int(n_tokens * rng.uniform(0.25, 0.6))
            head, line = self.repository_head(file, line, n_head, n_tokens - n_head)
            if head.n_tokens:
                path = corpus.text(corpus.files[file].path + "\n")
                # The line with the other file's name, or a few lines from there on.
                hole = self.line_hole(file, line, rng.choice((0, 0, 0, 1, 3)))
        start, end = hole or self.pick_hole(file, line)
        middle = corpus.span(start, end)
        n_middle = sum(map(len, middle))
        room = n_tokens - n_middle - head.n_tokens - len(path) - 4
        if n_middle > LONGEST_HOLE_TOKENS or room < 32:
            return self.left_to_right(file, line, n_tokens)
        prefix, suffix = self.surroundings(file, start, end, room)
        document = head
        if rng.random() < SPM:
            document.add(1.0, [PREFIX, SUFFIX], *suffix, [MIDDLE], path, *prefix)
        else:
            document.add(1.0, [PREFIX], path, *prefix, [SUFFIX], *suffix, [MIDDLE])
        document.add(MIDDLE_WEIGHT, *middle)
        document.add(END_WEIGHT, [END])
        return document

    def draw_line(self) -> tuple[int, int]:
        """A file and one of its lines: comments seldom, favoured languages often, else each as likely as any other."""
        lines, rng = self.corpus.lines, self.rng
        while True:
            line = rng.randrange(len(lines.indent))
            if self.corpus.is_comment[line] and rng.random() < COMMENTS_SKIPPED:
                continue
            file = int(np.searchsorted(lines.first_of_file, line, side="right")) - 1
            if rng.random() < self.kept[file]:
                return file, line

    def line_hole(self, file: int, line: int, n_more: int) -> tuple[Cut, Cut]:
        """From the start of a line to the end of the one that is `n_more` lines below it."""
        lines = self.corpus.lines
        last = min(line + n_more, int(lines.first_of_file[file + 1]) - 1)
        return lines.start(line), lines.end(last)

    def pick_hole(self, file: int, line: int) -> tuple[Cut, Cut]:
        """Draw where a hole at `line` begins and ends."""
        lines, rng = self.corpus.lines, self.rng
        last_of_file = int(lines.first_of_file[file + 1]) - 1
        kind = rng.random()
        if kind < 0.38:
            return self.line_hole(file, line, 0)
        if kind < 0.56:
            return self.line_hole(file, line, 1 + min(int(rng.expovariate(1 / 4)), LONGEST_HOLE_LINES))
        if kind < 0.76:  # what a line opens, with or without the line, or else the rest of its own block
            opens = line < last_of_file and lines.indent[line + 1] > lines.indent[line]
            first = line + 1 if opens else line
            last = lines.block_end(first, last_of_file, LONGEST_HOLE_LINES)
            return lines.start(line if rng.random() < 0.6 else first), lines.end(last)
        start = self.cut_in(lines.start(line), lines.end(line))
        if kind < 0.90:  # the rest of a line, from anywhere in it
            return start, lines.end(line)
        last = min(last_of_file, line + rng.choice((0, 0, 0, 1, 2)))
        end = self.cut_in(max(start, lines.start(last)), lines.end(last))  # characters, in the middle of words too
        return start, end

    def cut_in(self, start: Cut, end: Cut) -> Cut:
        """A place between two others, before any character."""
        token = self.rng.randint(start.token, max(start.token, end.token - 1))
        piece = self.corpus.vocabulary.pieces[self.corpus.ids[token]]
        offset = self.rng.randrange(len(piece))
        while offset and piece[offset] & 0xC0 == 0x80:
            offset -= 1
        return min(max(Cut(token, offset), start), end)

    def surroundings(self, file: int, start: Cut, end: Cut, room: int) -> tuple[list[Piece], list[Piece]]:
        """What stands before and behind a hole, at most `room` tokens; it begins and mostly ends with a whole line."""
        corpus, rng = self.corpus, self.rng
        first, behind = corpus.bounds[file], corpus.bounds[file + 1]
        n_suffix = min(int(room * rng.uniform(0.05, 0.4)), behind - end.token)
        suffix_end = Cut(end.token + max(0, n_suffix - 2), 0)
        if suffix_end.token < behind and rng.random() < 0.7:
            ends = corpus.lines.end_token
            line = int(np.searchsorted(ends, suffix_end.token, side="right")) - 1
            suffix_end = max(corpus.lines.end(line), end)
        n_prefix = room - max(0, n_suffix)
        earliest = start.token - n_prefix + 2
        prefix_start = Cut(first, 0)
        if earliest > first:
            line = int(np.searchsorted(corpus.lines.start_token, earliest))
            prefix_start = min(corpus.lines.start(line), start)
        return corpus.span(prefix_start, start), corpus.span(end, suffix_end)

    def left_to_right(self, file: int, line: int, n_tokens: int) -> Document:
        """Plain text. Its end counts only where the text really ends there."""
        document = Document()
        self.add_text(document, file, line if self.rng.random() < 0.8 else None, n_tokens - 1)
        is_whole = document.pieces and document.n_tokens < n_tokens - 1
        document.add(1.0 if is_whole else 0.0, [END])
        return document

    def add_text(self, document: Document, file: int, line: int | None, n_tokens: int) -> None:
        """Append at most `n_tokens` of a file, from a line on or from its beginning."""
        corpus = self.corpus
        start = Cut(corpus.bounds[file], 0) if line is None else corpus.lines.start(line)
        end = min(corpus.bounds[file + 1], start.token + n_tokens)
        if end > start.token:
            document.add(1.0, *corpus.span(start, Cut(end, 0)))

    def repository_left_to_right(self, file: int, n_tokens: int) -> Document:
        """Files of a package one after the other, from `file` on."""
        corpus = self.corpus
        document = Document()
        _, behind = corpus.package_bounds[file]
        document.add(1.0, [REPO], corpus.text(corpus.files[file].package))
        while file < behind and document.n_tokens < n_tokens - 64:
            document.add(1.0, [FILE_SEP], corpus.text(corpus.files[file].path + "\n"))
            self.add_text(document, file, None, n_tokens - document.n_tokens - 1)
            file += 1
        document.add(0.0 if document.n_tokens >= n_tokens - 1 else 1.0, [END])
        return document

    def other_files(self, file: int) -> list[int]:
        """Files to show beside `file`: imported ones before neighbours; the most telling one last."""
        corpus, rng = self.corpus, self.rng
        first, behind = corpus.package_bounds[file]
        imported = [first + number for number in corpus.files[file].imports if first + number != file]
        rng.shuffle(imported)
        near = [n for n in range(max(first, file - 4), min(behind, file + 5)) if n != file and n not in imported]
        rng.shuffle(near)
        language = corpus.files[file].language
        near.sort(key=lambda n: corpus.files[n].language != language)
        chosen = (imported + near)[: rng.choice((1, 1, 2, 2, 3))]
        return chosen[::-1]

    def repository_head(self, file: int, line: int, n_head: int, n_own: int) -> tuple[Document, int]:
        r"""`<repo_name>name<file_sep>path\ncode<file_sep>` with other files, and the line to hide.

        That line is `line`, or one near it that uses a name from another file. Without other files the document is
        empty.
        """
        corpus, rng = self.corpus, self.rng
        others = self.other_files(file)
        head = Document()
        if not others:
            return head, line
        line, shared = self.telling_line(file, line, others[-1], n_own)
        head.add(1.0, [REPO], corpus.text(corpus.files[file].package), [FILE_SEP])
        for number, other in enumerate(others):
            path = corpus.text(corpus.files[other].path + "\n")
            room = (n_head - head.n_tokens) // (len(others) - number) - len(path) - 1
            if room < 32:
                continue
            head.add(1.0, path)
            place = None  # from the file's beginning on
            if number == len(others) - 1 and shared is not None:
                # Whole lines around the place of the name, which is anywhere in what is shown.
                earliest = shared - rng.randrange(max(1, room - 24))
                if earliest > corpus.bounds[other]:
                    place = int(np.searchsorted(corpus.lines.start_token, earliest))
            elif rng.random() < 0.3:
                first, behind = (int(corpus.lines.first_of_file[other + i]) for i in (0, 1))
                place = rng.randrange(first, behind) if first < behind else None
            self.add_text(head, other, place, room)
            head.add(1.0, [FILE_SEP])
        return head, line

    def telling_line(self, file: int, line: int, other: int, n_own: int) -> tuple[int, int | None]:
        """A line near `line` with a name that `other` has and the rest of `file` near it has not.

        Also the place of that name in `other`. Returns `line` and None where there is no such line.
        """
        corpus, rng = self.corpus, self.rng
        centre = int(corpus.lines.start_token[line])
        start = max(corpus.bounds[file], centre - n_own // 2)
        end = min(corpus.bounds[file + 1], centre + n_own // 2)
        places, names = corpus.vocabulary.names(corpus.ids[start:end])
        other_start = corpus.bounds[other]
        other_places, other_names = corpus.vocabulary.names(
            corpus.ids[other_start : min(corpus.bounds[other + 1], other_start + 8192)]
        )
        unique, first, counts = np.unique(names, return_index=True, return_counts=True)
        once = counts == 1
        unique, first = unique[once], first[once]
        telling = np.isin(unique, other_names) & ~np.isin(unique, corpus.common)
        candidates = np.flatnonzero(telling)
        if len(candidates) == 0 or rng.random() < 0.1:
            return line, None
        choice = int(candidates[rng.randrange(len(candidates))])
        token = start + int(places[first[choice]])
        found = int(np.searchsorted(corpus.lines.start_token, token, side="right")) - 1
        in_other = other_places[other_names == unique[choice]]
        return found, other_start + int(in_other[rng.randrange(len(in_other))])
