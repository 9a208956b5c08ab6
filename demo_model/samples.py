"""Training rows: windows of real files, laid out as StarCoder2 was trained.

A row is a list of `(token id, loss weight)`. Layouts: left to right; PSM; SPM "v2"; PSM inside the repository format.
Most holes begin at a line's start, as the server's prompts do, which lay out the cursor's line behind `<fim_middle>`.
The others: the rest of a line from any character; an indented block; a few spans of any characters.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tokenizers import Tokenizer

END, PREFIX, MIDDLE, SUFFIX, _PAD, REPO, FILE_SEP = range(7)
MIDDLE_WEIGHT = 5.0
"""Weight of a middle's tokens: they are one in ten, and the ones that count."""
END_WEIGHT = 2.0
Row = list[tuple[int, float]]


def pick_hole(text: str, rng: random.Random) -> tuple[int, int]:
    """Choose `(start, end)` of a hole in `text`, in characters."""
    kind = rng.random()
    at = rng.randrange(len(text))
    line_start = text.rfind("\n", 0, at) + 1
    line_end = text.find("\n", at)
    line_end = len(text) if line_end < 0 else line_end
    if kind < 0.35:  # one line
        return line_start, line_end
    if kind < 0.68:  # from a line's start to the end of some line below it
        end = line_end
        for _ in range(1 + min(int(rng.expovariate(1 / 5)), 24)):
            following = text.find("\n", end + 1)
            if following < 0:
                break
            end = following
        return line_start, end
    if kind < 0.84:  # the rest of a line, from anywhere in it
        indent = len(text[line_start:line_end]) - len(text[line_start:line_end].lstrip())
        return rng.randint(min(line_start + indent, line_end), line_end), line_end
    opener = text.find(":\n", at, at + 2000)
    if kind < 0.96 and opener >= 0:  # an indented block below a line that opens one
        return opener + 2, block_end(text, opener + 2)
    return at, min(len(text), at + 1 + int(rng.expovariate(1 / 40)))


def block_end(text: str, start: int) -> int:
    """End of the indented block that begins at the line start `start`, at most 20 lines on."""
    end, indent = start, 0
    for line in text[start:].split("\n", 20)[:20]:
        depth = len(line) - len(line.lstrip())
        indent = indent or depth
        if line.strip() and depth < indent:
            break
        end += len(line) + 1
    return max(start, end - 1)


@dataclass
class Sampler:
    """Draws rows of at most `n_tokens` tokens from `files` (`package, path, text`)."""

    tokenizer: Tokenizer
    files: list[tuple[str, str, str]]
    rng: random.Random
    starts: list[int] = field(default_factory=list)
    packages: dict[str, list[int]] = field(default_factory=dict)

    def ids(self, text: str) -> list[int]:
        """Token ids of plain text."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def row(self, n_tokens: int) -> Row:
        """One row of exactly `n_tokens + 1` tokens, several documents if the files are short."""
        row: Row = []
        while len(row) < n_tokens + 1 - 48:
            room = n_tokens + 1 - len(row)
            # Short documents too: each has a hole, and holes are what is to be learnt.
            row += self.document(room if room < 192 or self.rng.random() < 0.4 else self.rng.randint(160, room))
        row += [(END, 0.0)] * (n_tokens + 1 - len(row))
        return row[: n_tokens + 1]

    def document(self, n_tokens: int) -> Row:
        """One document of at most `n_tokens` tokens."""
        rng = self.rng
        package, path, text = rng.choices(self.files, cum_weights=self.cumulative_sizes())[0]
        # a window of the file; about four characters a token, a little more than fits, trimmed after tokenizing
        n_chars = n_tokens * 4
        if len(text) > n_chars:
            start = text.rfind("\n", 0, rng.randrange(len(text) - n_chars // 2)) + 1
            text = text[start : start + n_chars]
        layout = rng.random()
        hole_start, hole_end = pick_hole(text, rng)
        middle = self.ids(text[hole_start:hole_end])
        if layout < 0.18 or len(middle) > n_tokens // 3 or n_tokens < 96:
            return self.left_to_right(text, n_tokens)
        head = self.repository_head(n_tokens // 3, package, path) if layout < 0.30 else []
        path_ids = self.ids(path + "\n") if head else []
        room = n_tokens - len(middle) - len(head) - len(path_ids) - 4
        if room < 32:
            return self.left_to_right(text, n_tokens)
        suffix = self.ids(text[hole_end:])[: int(room * rng.uniform(0.1, 0.4))]
        prefix = path_ids + self.ids(text[:hole_start])[-(room - len(suffix)) :]
        if 0.30 <= layout < 0.50:
            context = [PREFIX, SUFFIX, *suffix, MIDDLE, *prefix]
        else:
            context = [*head, PREFIX, *prefix, SUFFIX, *suffix, MIDDLE]
        return [
            *((token, 1.0) for token in context),
            *((token, MIDDLE_WEIGHT) for token in middle),
            (END, END_WEIGHT),
        ]

    def left_to_right(self, text: str, n_tokens: int) -> Row:
        """Plain text. Its end counts only where the text really ends there."""
        ids = self.ids(text)
        return [*((token, 1.0) for token in ids[: n_tokens - 1]), (END, 1.0 if len(ids) < n_tokens else 0.0)]

    def repository_head(self, n_tokens: int, package: str, path: str) -> list[int]:
        r"""`<repo_name>name<file_sep>path\ncode<file_sep>` with one other file of the same package, or nothing."""
        if not self.packages:
            for index, (name, _, _) in enumerate(self.files):
                self.packages.setdefault(name, []).append(index)
        name, other_path, text = self.files[self.rng.choice(self.packages[package])]
        if other_path == path:
            return []
        head = [REPO, *self.ids(name), FILE_SEP, *self.ids(f"{other_path}\n{text[: n_tokens * 4]}")]
        return [*head[: n_tokens - 1], FILE_SEP]

    def cumulative_sizes(self) -> list[int]:
        """Cumulative text lengths, so that every character is drawn about equally often."""
        if not self.starts:
            total = 0
            for _, _, text in self.files:
                total += len(text)
                self.starts.append(total)
        return self.starts
