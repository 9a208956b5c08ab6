"""Step 1: gather the corpus and train the vocabulary.

Reads `corpus.toml`, fetches each package's wheel with pip, keeps the Python files that look written by a person, and
trains a byte-level BPE vocabulary with StarCoder2's special tokens at their ids. Writes `train.json`,
`held_out.json` (each a list of `[package, path, text]`) and `tokenizer.json` into the work folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from demo_model import default_work_dir

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<fim_prefix>",
    "<fim_middle>",
    "<fim_suffix>",
    "<fim_pad>",
    "<repo_name>",
    "<file_sep>",
)
N_VOCAB = 8192
SKIPPED_FOLDERS = re.compile(
    r"(^|/)(tests?|testing|idle_test|_vendor|vendor|site-packages|lib2to3|typeshed|locale|third_party|data)/"
)
SourceFile = tuple[str, str, str]  # package, path, text


def looks_written_by_a_person(text: str) -> bool:
    """Whether `text` is neither generated, nor a data table, nor tiny."""
    n_lines = text.count("\n") + 1
    if not 600 <= len(text) <= 200_000 or len(text) / n_lines > 60:
        return False
    if max(map(len, text.split("\n"))) > 300:
        return False
    n_digits = sum(map(text.count, "0123456789"))
    return n_digits < 0.06 * len(text) and len(text.encode()) < 1.02 * len(text)


def read_wheel(package: str, wheel: Path) -> list[SourceFile]:
    """The Python files of one wheel."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".py")]
        return [(package, name, archive.read(name).decode("utf-8", "replace")) for name in sorted(names)]


def read_standard_library() -> list[SourceFile]:
    """The Python files of this interpreter's standard library."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(path for path in root.rglob("*.py") if "site-packages" not in path.parts)
    return [("python", str(path.relative_to(root)), path.read_text("utf-8", "replace")) for path in files]


def download(rows: list[dict[str, str]], wheels: Path) -> list[SourceFile]:
    """Fetch each row's wheel (once) and return its Python files."""
    found: list[SourceFile] = []
    for row in rows:
        folder = wheels / f"{row['name']}-{row['version']}"
        if not list(folder.glob("*.whl")):
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
            subprocess.run([*command, "-d", str(folder), f"{row['name']}=={row['version']}"], check=True)
        found += read_wheel(row["name"], next(folder.glob("*.whl")))
    return found


def long_lines(text: str) -> set[bytes]:
    """Digests of the lines that are long enough to tell a copy from a coincidence."""
    lines = (line.strip() for line in text.split("\n"))
    return {hashlib.blake2b(line.encode(), digest_size=8).digest() for line in lines if len(line) >= 25}


def clean(files: list[SourceFile], not_like: set[bytes]) -> list[SourceFile]:
    """Keep what a person wrote, once each, and nothing that shares a third of its long lines with `not_like`."""
    kept: dict[str, SourceFile] = {}
    for package, path, raw in files:
        text = raw.replace("\r\n", "\n")
        if SKIPPED_FOLDERS.search(path) or not looks_written_by_a_person(text):
            continue
        lines = long_lines(text)
        if len(lines & not_like) * 3 > len(lines):
            continue
        kept.setdefault(hashlib.sha256(text.encode()).hexdigest(), (package, path, text))
    return list(kept.values())


def train_tokenizer(files: list[SourceFile]) -> Tokenizer:
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
    tokenizer.train_from_iterator((text for _, _, text in files[::3]), trainer)
    return tokenizer


def main() -> None:
    """Run the step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=default_work_dir())
    work_dir: Path = parser.parse_args().work_dir
    work_dir.mkdir(parents=True, exist_ok=True)
    corpus = tomllib.loads((Path(__file__).parent / "corpus.toml").read_text())

    held_out = clean(download(corpus["held_out"], work_dir / "wheels"), set())
    not_like = set().union(*(long_lines(text) for _, _, text in held_out))
    train = clean(read_standard_library() + download(corpus["train"], work_dir / "wheels"), not_like)
    for name, files in (("train", train), ("held_out", held_out)):
        (work_dir / f"{name}.json").write_text(json.dumps(files))
        print(f"{name}: {len(files)} files, {sum(len(f[2]) for f in files) / 1e6:.1f} M characters")

    tokenizer = train_tokenizer(train)
    tokenizer.save(str(work_dir / "tokenizer.json"))
    sample = "\n".join(text for _, _, text in held_out[::5])
    n_characters = len(sample) / len(tokenizer.encode(sample).ids)
    print(f"vocabulary: {tokenizer.get_vocab_size()}, {n_characters:.2f} characters a token")


if __name__ == "__main__":
    main()
