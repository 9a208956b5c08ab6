"""Which files of a package are worth learning from: written by people, permissively licensed, once each.

Left out are tests, vendored copies, generated and minified files, tables of data, files whose heading names a licence
that asks for more than a notice, near copies of other files (MinHash), and everything like a file that is held out.
Headings with a licence are cut off: they would be a tenth of some packages, and make unlike files look alike.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from datasketch import LeanMinHash

SUFFIXES = {
    "python": (".py",),
    "javascript": (".js", ".mjs", ".cjs", ".jsx"),
    "typescript": (".ts", ".tsx", ".mts", ".cts"),
    "java": (".java",),
    "c": (".c", ".h"),
    "cpp": (".cc", ".cpp", ".cxx", ".hpp", ".hh", ".hxx", ".ipp"),
    "go": (".go",),
    "rust": (".rs",),
    "ruby": (".rb", ".rake"),
    "php": (".php",),
    "csharp": (".cs",),
    "shellscript": (".sh", ".bash", ".zsh"),
    "html": (".html", ".htm"),
    "css": (".css", ".scss", ".less"),
    "sql": (".sql", ".pgsql"),
    "markdown": (".md", ".markdown"),
}
LANGUAGE_OF = {suffix: language for language, suffixes in SUFFIXES.items() for suffix in suffixes}
TESTS = re.compile(
    r"(^|/)(tests?|testing|testdata|test_?data|__tests__|specs?|fixtures|mocks?|__mocks__|idle_test|regress|unittests?)/"
    r"|(^|/)(test_[^/]*|conftest)\.py$|[._-](test|spec|tests)\.\w+$|(Tests?|TestCase)\.(java|cs|php)$|_(un)?test\.\w+$",
)
NOT_THEIR_OWN = re.compile(
    r"(^|/)(_vendor|vendor(ed)?|site-packages|node_modules|third[_-]?party|deps|extern(al)?s?|lib2to3|typeshed|bundled"
    r"|jslib|plugins/vendors)/"
)
GENERATED_PATH = re.compile(
    r"(^|/)(dist|build|umd|esm|cjs|fesm\w*|bundles?|min|generated|locales?|i18n|lang|l10n|debian|data|snapshots?)/"
    r"|[._-]min\.|\.d\.[mc]?ts$|_pb2(_grpc)?\.py$|\.pb\.(go|cc|h)$|[._]gen(erated)?\.|/zz_generated|\.designer\.cs$"
    r"|(^|/)(changelog|history|changes|news|authors|contributors|licen[cs]e|third.?party.*)[^/]*\.(md|markdown|html?)$",
    re.IGNORECASE,
)
GENERATED_TEXT = re.compile(
    r"do not (edit|modify)|don't edit|@generated|(auto-?|automatically )generated|generated (by|from|with) [A-Z`'\w]+"
    r"|this file (was|is) (auto|generated|created by)",
    re.IGNORECASE,
)
NOT_PERMISSIVE = re.compile(
    r"GNU\s+(Lesser|Library|Affero|General)|\b[AL]?GPL(v?[23])?\b|Mozilla Public|\bMPL\b|Eclipse Public|\bCDDL\b"
    r"|Microsoft Public License|Creative Commons|CC[- ]BY|proprietary|confidential|Business Source",
    re.IGNORECASE,
)
HEADING = re.compile(
    r"\A(?P<shebang>#![^\n]*\n|<\?php\s*\n)?\s*"
    r"(?P<comment>/\*.*?\*/[ \t]*\n|<!--.*?-->[ \t]*\n|(?:[ \t]*(?:#|//|--|;)[^\n]*\n)+)",
    re.DOTALL,
)
PROSE = {"markdown", "html"}
NUMBERS = {"css", "sql", "html"}
N_PERMUTATIONS = 64
SHINGLE_WORDS = 6
NEAR_COPY = 0.7
"""Estimated share of common shingles from which on two files are copies of each other."""
WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class SourceFile:
    """A file of a package; the lines of `text` end in line feeds, and no licence stands above."""

    package: str
    path: str
    language: str
    text: str


def language_of(path: str, text: str, *, is_cpp: bool = False) -> str:
    """The language of a file, or an empty string. Headers are C++ in a package that is mostly C++."""
    language = LANGUAGE_OF.get(PurePosixPath(path).suffix.lower(), "")
    if not language and "." not in PurePosixPath(path).name and re.match(r"#!\s*\S*(/|\benv )(ba|da|z|k)?sh\b", text):
        return "shellscript"
    return "cpp" if is_cpp and path.endswith(".h") else language


def without_heading(text: str) -> str | None:
    """`text` without a leading comment about its licence, None if that licence is not a permissive one."""
    match = HEADING.match(text)
    if match is None or not re.search(r"licen[cs]|copyright|\(c\)|spdx", match["comment"], re.IGNORECASE):
        return text
    if NOT_PERMISSIVE.search(match["comment"]):
        return None
    return (match["shebang"] or "") + text[match.end() :].lstrip("\n")


def looks_written_by_a_person(text: str, language: str) -> bool:
    """Return whether `text` is neither generated, nor a table of data, nor tiny."""
    n_lines = text.count("\n") + 1
    if not 300 <= len(text) <= 120_000 or len(text) / n_lines > (120 if language in PROSE else 60):
        return False
    if max(map(len, text.split("\n"))) > (1000 if language in PROSE else 300) or GENERATED_TEXT.search(text[:1500]):
        return False
    n_digits = sum(map(text.count, "0123456789"))
    return n_digits < (0.12 if language in NUMBERS else 0.06) * len(text) and len(text.encode()) < 1.02 * len(text)


def clean(package: str, files: Iterable[tuple[str, str]], *, with_tests: bool = False) -> list[SourceFile]:
    """Keep what is worth learning from of one package, in the order of its paths."""
    kept: list[SourceFile] = []
    raw = sorted(files)
    n_headers = Counter(PurePosixPath(path).suffix for path, _ in raw)
    is_cpp = sum(n_headers[suffix] for suffix in SUFFIXES["cpp"]) > n_headers[".c"]
    for path, data in raw:
        if NOT_THEIR_OWN.search(path) or GENERATED_PATH.search(path) or (TESTS.search(path) and not with_tests):
            continue
        language = language_of(path, data[:64], is_cpp=is_cpp)
        if not language or "\0" in data or "\ufffd" in data:
            continue
        text = without_heading(data.replace("\r\n", "\n").removeprefix("\ufeff"))
        if text is not None and looks_written_by_a_person(text, language):
            kept.append(SourceFile(package, path, language, text))
    return kept


def long_lines(text: str) -> set[bytes]:
    """Digests of the lines that are long enough to tell a copy from a coincidence."""
    lines = (line.strip() for line in text.split("\n"))
    return {hashlib.blake2b(line.encode(), digest_size=8).digest() for line in lines if len(line) >= 25}


def is_like(text: str, lines: set[bytes]) -> bool:
    """Return whether a third of the long lines of `text` are among `lines`."""
    own = long_lines(text)
    return len(own & lines) * 3 > len(own)


def take(files: Sequence[SourceFile], n_characters: int) -> list[SourceFile]:
    """About `n_characters` of one package, folder by folder: files of one folder belong together.

    The order of the folders is drawn by a hash of their names, so that it is the same in every run.
    """

    def rank(file: SourceFile) -> tuple[bytes, str]:
        folder = str(PurePosixPath(file.path).parent)
        return hashlib.sha256(f"{file.package} {folder}".encode()).digest(), file.path

    taken: list[SourceFile] = []
    room = n_characters
    for file in sorted(files, key=rank):
        if len(file.text) <= room:
            taken.append(file)
            room -= len(file.text)
    return taken


def shingles(text: str) -> set[int]:
    """Hashes of all runs of `SHINGLE_WORDS` words."""
    words = WORD.findall(text)
    runs = (" ".join(words[i : i + SHINGLE_WORDS]) for i in range(max(1, len(words) - SHINGLE_WORDS + 1)))
    return {zlib.crc32(run.encode()) for run in runs}


def sketch(text: str) -> LeanMinHash:
    """The MinHash of a text."""
    from datasketch import LeanMinHash, MinHash  # of the extra `train`

    found = MinHash(num_perm=N_PERMUTATIONS, seed=1, hashfunc=int)
    found.update_batch(shingles(text))
    return LeanMinHash(found)


def without_copies(files: Sequence[SourceFile], n_processes: int = 1) -> list[SourceFile]:
    """Leave out every file that is nearly the same as one before it."""
    from datasketch import MinHashLSH

    index = MinHashLSH(threshold=NEAR_COPY, num_perm=N_PERMUTATIONS)
    kept: list[SourceFile] = []
    with ProcessPoolExecutor(n_processes) as pool:
        minhashes = list(pool.map(sketch, [file.text for file in files], chunksize=500))
    for number, (file, minhash) in enumerate(zip(files, minhashes, strict=True)):
        if not index.query(minhash):
            index.insert(number, minhash)
            kept.append(file)
    return kept


def fill_budgets(files: Sequence[SourceFile], budgets: dict[str, int]) -> list[SourceFile]:
    """Cut every language down to its budget in characters, taking most from the packages that have most.

    All packages of a language have the same limit, the largest one with which the language keeps to its budget.
    """
    groups: dict[str, dict[str, list[SourceFile]]] = defaultdict(lambda: defaultdict(list))
    for file in files:
        groups[file.language][file.package].append(file)
    kept: list[SourceFile] = []
    for language, packages in sorted(groups.items()):
        sizes = np.sort([sum(len(file.text) for file in own) for own in packages.values()])
        # With the limit at sizes[i], the packages up to i stay whole and the rest have sizes[i] each.
        totals = np.cumsum(sizes) + sizes * np.arange(len(sizes) - 1, -1, -1)
        n_whole = int(np.searchsorted(totals, budgets[language], side="right"))
        rest = budgets[language] - int(sizes[:n_whole].sum())
        limit = int(sizes[-1]) if n_whole == len(sizes) else rest // (len(sizes) - n_whole)
        for package in sorted(packages):
            kept += take(packages[package], limit)
    return kept
