"""Step 1: gather the corpus, train the vocabulary, and write everything as token ids.

Reads `corpus.toml` and fetches its packages (`sources.py`), keeps what is worth learning from (`cleaning.py`), puts
files behind those that they import (`imports.py`), and trains a byte-level BPE vocabulary with StarCoder2's special
tokens at their ids. Writes into the work folder:

- `tokens.xz`: the files of the training and some of the held-out ones as token ids with an index (`token_file.py`).
  With `tokenizer.json` it is all that training needs, and it is small enough to travel.
- `tokenizer.json`: the vocabulary.
- `held_out.json`: a list of `[package, path, text, language]` for `evaluate.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from demo_model import default_work_dir
from demo_model.cleaning import SourceFile, clean, fill_budgets, is_like, long_lines, take, without_copies
from demo_model.imports import find_imports, import_order
from demo_model.sources import Package, fetch, read, read_corpus
from demo_model.token_file import TokenFile, TokenizedFile

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<fim_prefix>",
    "<fim_middle>",
    "<fim_suffix>",
    "<fim_pad>",
    "<repo_name>",
    "<file_sep>",
)
N_VOCAB = 16_384
TAKEN_BEFORE_CLEANING = 3_000_000
"""Characters of one package in one language that are looked at: more would be cut down again later."""
VOCABULARY_SAMPLE = 2_500_000
"""Characters of each language that the vocabulary is trained on: rare languages get their words too."""
HELD_OUT_TOKENS = 60_000
"""Held-out tokens of each language that go into the token file, for the loss while training."""


def gather(package: Package, archives: Path) -> list[SourceFile]:
    """Fetch and clean one package."""
    archive = fetch(package, archives)
    found = clean(package.name, read(package, archive), with_tests=package.with_tests)
    by_language: dict[str, list[SourceFile]] = defaultdict(list)
    for file in found:
        by_language[file.language].append(file)
    return [file for files in by_language.values() for file in take(files, TAKEN_BEFORE_CLEANING)]


def gather_all(packages: Sequence[Package], archives: Path, n_processes: int) -> list[SourceFile]:
    """Fetch and clean all `packages`."""
    with ProcessPoolExecutor(n_processes) as pool:
        return [file for files in pool.map(gather, packages, repeat(archives)) for file in files]


def train_tokenizer(files: Sequence[SourceFile]) -> Tokenizer:
    """A byte-level BPE with the `starcoder` pre-tokenizer: single digits, then GPT-2's word pattern."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=N_VOCAB,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=24,
        show_progress=False,
    )
    sizes = Counter[str]()
    for file in files:
        sizes[file.language] += len(file.text)
    taken, seen, sample = Counter[str](), Counter[str](), list[str]()
    for file in files:  # evenly spread over each language's packages
        seen[file.language] += len(file.text)
        if taken[file.language] * sizes[file.language] <= seen[file.language] * VOCABULARY_SAMPLE:
            taken[file.language] += len(file.text)
            sample.append(file.text)
    tokenizer.train_from_iterator(sample, trainer)
    return tokenizer


def in_import_order(files: Sequence[SourceFile]) -> tuple[list[SourceFile], list[list[int]]]:
    """The files of one package, imported ones first, and for each the numbers of its imports in that order."""
    by_path = sorted(files, key=lambda file: file.path)
    imports = find_imports([(file.language, file.path, file.text) for file in by_path])
    order = import_order(imports)
    number_of = {old: new for new, old in enumerate(order)}
    return [by_path[old] for old in order], [[number_of[n] for n in imports[old]] for old in order]


def tokenize(files: Sequence[SourceFile], tokenizer: Tokenizer, *, held_out: bool) -> list[TokenizedFile]:
    """All files as token ids, package by package."""
    packages: dict[str, list[SourceFile]] = defaultdict(list)
    for file in files:
        packages[file.package].append(file)
    found: list[TokenizedFile] = []
    for package, own in sorted(packages.items()):
        ordered, imports = in_import_order(own)
        encodings = tokenizer.encode_batch_fast([file.text for file in ordered], add_special_tokens=False)
        for file, encoding, numbers in zip(ordered, encodings, imports, strict=True):
            ids = np.array(encoding.ids, dtype=np.uint16)
            found.append(TokenizedFile(package, file.path, file.language, ids, numbers, held_out))
    return found


def some_of_each_language(files: Sequence[SourceFile], n_characters: int) -> list[SourceFile]:
    """Held-out files for the loss while training."""
    taken: list[SourceFile] = []
    for language in sorted({file.language for file in files}):
        taken += take([file for file in files if file.language == language], n_characters)
    return taken


def main() -> None:
    """Run the step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work-dir", type=Path, default=default_work_dir())
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    archives = args.work_dir / "archives"
    archives.mkdir(parents=True, exist_ok=True)
    corpus = read_corpus()
    started = time.monotonic()

    def tell(what: str, files: Sequence[SourceFile]) -> None:
        size = sum(len(file.text) for file in files) / 1e6
        print(f"{time.monotonic() - started:4.0f} s  {what}: {len(files)} files, {size:.1f} M characters", flush=True)

    # Two of each language at least; `reserved` is fetched only so that nothing like it is trained on.
    held_out = without_copies(gather_all(corpus["held_out"], archives, args.processes), args.processes)
    tell("held out", held_out)
    reserved = gather_all(corpus["reserved"], archives, args.processes)
    tell("reserved", reserved)
    not_like = set().union(*(long_lines(file.text) for file in [*held_out, *reserved]))
    train = gather_all(corpus["train"], archives, args.processes)
    tell("train, clean", train)
    with ProcessPoolExecutor(args.processes) as pool:
        alike = list(pool.map(is_like, [file.text for file in train], repeat(not_like), chunksize=1000))
    train = [file for file, is_alike in zip(train, alike, strict=True) if not is_alike]
    tell("train, nothing like what is held out", train)
    train = without_copies(train, args.processes)
    tell("train, each file once", train)
    budgets = {language: int(n_million * 1e6) for language, n_million in corpus["million_characters"].items()}
    train = fill_budgets(train, budgets)
    tell("train", train)
    for language, n_files in sorted(Counter(file.language for file in train).items()):
        n_characters = sum(len(file.text) for file in train if file.language == language)
        n_packages = len({file.package for file in train if file.language == language})
        print(f"        {language}: {n_packages} packages, {n_files} files, {n_characters / 1e6:.2f} M characters")

    rows = [[file.package, file.path, file.text, file.language] for file in held_out]
    (args.work_dir / "held_out.json").write_text(json.dumps(rows), "utf-8")
    tokenizer = train_tokenizer(train)
    tokenizer.save(str(args.work_dir / "tokenizer.json"))
    tell("vocabulary", train)
    tokens = TokenFile(
        [
            *tokenize(train, tokenizer, held_out=False),
            *tokenize(some_of_each_language(held_out, HELD_OUT_TOKENS * 3), tokenizer, held_out=True),
        ]
    )
    target = args.work_dir / "tokens.xz"
    tokens.write(target)
    n_tokens = sum(len(file.ids) for file in tokens.files if not file.held_out)
    n_characters = sum(len(file.text) for file in train)
    tell("tokens", train)
    print(f"{n_tokens / 1e6:.2f} M tokens, {n_characters / n_tokens:.2f} characters a token")
    print(f"{target.name}: {target.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
