"""The files that the model may see: no ignored ones, no secrets, no links that lead outside, and text only."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from starcoder_lsp.documents.git_excludes import users_exclude_file
from starcoder_lsp.documents.ignore_rules import IgnoreRules
from starcoder_lsp.documents.workspace import MAX_FILE_BYTES, Workspace


@pytest.fixture
def users_rules(tmp_path_factory, monkeypatch):
    """The file with the user's rules for all repositories, as git's settings name it."""
    home = tmp_path_factory.mktemp("home")
    (home / "config").write_text("[include]\n\tpath = more\n")
    (home / "more").write_text("[core]\n\texcludesFile = ~/.gitignore\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / "config"))
    users_exclude_file.cache_clear()
    yield home / ".gitignore"
    users_exclude_file.cache_clear()


def write(root: Path, files: dict[str, str | bytes]) -> Workspace:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return Workspace(root)


def is_shown(workspace: Workspace, root: Path, name: str, globs: tuple[str, ...] = ()) -> bool:
    return workspace.read((root / name).as_posix(), globs) is not None


def test_a_file_is_read_as_a_document_in_its_language(tmp_path):
    workspace = write(tmp_path, {"a/b.py": "def f(): ...\n"})
    document = workspace.read((tmp_path / "a/b.py").as_posix(), ())
    assert document is not None
    assert document.text.data == b"def f(): ...\n"
    assert document.syntax is not None
    assert [scope.name for scope in document.syntax.definitions()] == ["f"]
    assert workspace.name_of((tmp_path / "a/b.py").as_posix()) == "a/b.py"
    assert workspace.name_of("/elsewhere/c.py") == "c.py"


def test_a_mark_of_the_byte_order_is_no_text(tmp_path):
    workspace = write(tmp_path, {"a.py": b"\xef\xbb\xbfx = 1\xef\xbb\xbf\n"})
    assert workspace.read((tmp_path / "a.py").as_posix(), ()).text.data == b"x = 1\xef\xbb\xbf\n"


def test_a_file_is_read_again_only_after_a_change(tmp_path):
    workspace = write(tmp_path, {"a.py": "x = 1\n"})
    path = (tmp_path / "a.py").as_posix()
    first = workspace.read(path, ())
    assert workspace.read(path, ()) is first
    write(tmp_path, {"a.py": "x = 1000\n"})
    assert workspace.read(path, ()).text.data == b"x = 1000\n"
    (tmp_path / "a.py").unlink()
    assert workspace.read(path, ()) is None


SECRETS = (
    ".env .env.local a/.env prod.env server.pem tls/server.key id_rsa id_ed25519.pub .netrc credentials"
    " credentials.json CREDENTIALS.py secrets.yaml config/secrets.py .ssh/config .git/config .npmrc store.p12"
    " terraform.tfvars terraform.tfstate.backup"
)


@pytest.mark.parametrize("name", SECRETS.split())
def test_secrets_are_never_shown(tmp_path, name):
    assert not is_shown(write(tmp_path, {name: "x = 1\n"}), tmp_path, name)


@pytest.mark.parametrize("name", ["environment.py", "keys.py", "env.py", "secretary.py", "tokens.py", "a.github/x.py"])
def test_files_with_similar_names_are_shown(tmp_path, name):
    assert is_shown(write(tmp_path, {name: "x = 1\n"}), tmp_path, name)


def test_folders_above_the_root_do_not_make_a_secret(tmp_path):
    root = tmp_path / ".ssh"
    assert is_shown(write(root, {"a.py": "x = 1\n"}), root, "a.py")


def test_globs_of_the_settings_exclude_files(tmp_path):
    workspace = write(tmp_path, {"private/a.py": "", "a.py": ""})
    assert not is_shown(workspace, tmp_path, "private/a.py", ("private/**",))
    assert not is_shown(workspace, tmp_path, "private/a.py", (f"{tmp_path.as_posix()}/private",))
    assert is_shown(workspace, tmp_path, "a.py", ("private/**",))


def test_gitignore_files_of_all_folders_apply_with_negations(tmp_path):
    workspace = write(
        tmp_path,
        {
            ".gitignore": "*.gen.py\nbuild/\n/only_here.py\n!\n",  # the last line is no valid pattern
            "pkg/.gitignore": "!keep.gen.py\nlocal.py\n",
            "build/.gitignore": "!a.py\n",
            **dict.fromkeys(["a.gen.py", "pkg/a.gen.py", "pkg/keep.gen.py", "build/a.py", "only_here.py"], "x = 1\n"),
            **dict.fromkeys(["pkg/only_here.py", "pkg/local.py", "local.py"], "x = 1\n"),
        },
    )
    names = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.py")]
    assert {name for name in names if is_shown(workspace, tmp_path, name)} == {
        "pkg/keep.gen.py",
        "pkg/only_here.py",
        "local.py",
    }


def test_a_changed_gitignore_applies_at_the_next_request(tmp_path):
    workspace = write(tmp_path, {"a.py": "x = 1\n"})
    assert is_shown(workspace, tmp_path, "a.py")
    write(tmp_path, {".gitignore": "a.py\n"})
    workspace.check_again()
    assert not is_shown(workspace, tmp_path, "a.py")
    write(tmp_path, {".gitignore": "b.py # longer\n"})
    workspace.check_again()
    assert is_shown(workspace, tmp_path, "a.py")


def test_rules_above_a_root_inside_a_repository_apply(tmp_path):
    write(tmp_path, {".git/HEAD": "", ".gitignore": "generated.py\n", "sub/generated.py": "", "sub/a.py": ""})
    workspace = Workspace(tmp_path / "sub")
    assert not is_shown(workspace, tmp_path / "sub", "generated.py")
    assert is_shown(workspace, tmp_path / "sub", "a.py")
    assert not Workspace(None).may_be_shown((tmp_path / "sub/generated.py").as_posix(), ())


def test_an_unreadable_gitignore_excludes_everything(tmp_path):
    workspace = write(tmp_path, {".gitignore": "*.log\n" * 20_000, "a.py": "", "b/.gitignore/x": "", "b/a.py": ""})
    assert not is_shown(workspace, tmp_path, "a.py")


@pytest.mark.parametrize(
    ("rules", "path", "verdict"),
    [
        ("[[:upper:]]\nprivate/\n[ab]", "private/", True),
        ("[[:upper:]]\nprivate/\n[ab]", "private", None),
        ("[[:upper:]]*", "src/Main.py", True),
        ("[[:upper:]]*", "src/main.py", None),
        ("a[\\]]b", "a]b", True),
        ("*.py\n!/keep[-.]*", "keep-a.py", False),
        ("a/**", "a/", None),
        ("a/**", "a/b/", True),
        ("name\t", "name", None),
        ("name\\  ", "name ", True),
        ("[a/b]", "x/", None),
        ("[z", "z", None),
    ],
)
def test_a_rule_means_what_it_means_for_git(rules, path, verdict):
    assert IgnoreRules.parse(rules.encode()).verdict(path) is verdict


PATTERN_PARTS = (
    r"a b c A aa é / / * * ? ** **/ /** /**/ *.c ! # [ ] - ^ \ \* \! \# \] ( | { } + $ . [ab] [!a] [^a] [a-c] [a-c-é]"
    r" []a] [!]a] [\]] [a\-c] [b-a] [a/b] [[a] [[:] [[:none:]] [[:alphanumeric:]] [[:alpha:]]"
    r" [[:space:][:digit:]_] [![:punct:]]"
)
BLANKS = [" ", "\\ ", "\t", "\r", "\N{NO-BREAK SPACE}"]
NAME_PARTS = [*"abcAé.][!^-#*+$({|_1 \t\r\\", *"abcabc", "aa", "a.c", "b.c", "ab", "\N{NO-BREAK SPACE}"]
CHANGED = re.compile(r"[^*?/[\\]\*\*+(?:/|\\|$)")
"""Patterns such as `foo**/bar`, which differ in meaning between versions of git."""


def test_the_files_that_are_shown_are_those_that_git_does_not_ignore(tmp_path, users_rules):
    if shutil.which("git") is None:
        pytest.skip("git is not here")
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q", "--template="], check=True)  # noqa: S603  our own
    dice = random.Random(5)
    folders, parts_of_patterns = ["", "a", "b", "a/b", "aa"], [*PATTERN_PARTS.split(" "), *BLANKS]
    n_ignored = n_names = 0
    for _ in range(80):
        for file in (
            users_rules,
            tmp_path / ".git/info/exclude",
            *(tmp_path / each / ".gitignore" for each in folders),
        ):
            lines = ["".join(dice.choices(parts_of_patterns, k=dice.choice([1, 2, 2, 4]))) for _ in range(3)]
            lines = [dice.choice(["", "", "", "!"]) + line for line in lines if not CHANGED.search(line)]
            rules = dice.choice(["\n", "\r\n"]).join([*lines, ""][: dice.randint(2, 4)])
            write(file.parent, {file.name: rules if file.parent == tmp_path or dice.random() < 0.3 else ""})
        parts = (["".join(dice.choices(NAME_PARTS, k=dice.randint(1, 2))) for _ in range(4)] for _ in range(60))
        names = {"/".join(part[: dice.randint(1, 4)]) for part in parts}
        names = sorted(names - {*folders} - {name for name in names if {".", ".."} & {*name.split("/")}})
        listed = subprocess.run(  # noqa: S603  our own
            [*git, "check-ignore", "--no-index", "-z", "--stdin"],
            input="".join(f"{name}\0" for name in names).encode(),
            capture_output=True,
            check=False,
        ).stdout
        ignored = {name.decode() for name in listed.split(b"\0") if name}
        workspace = Workspace(tmp_path)
        hidden = {name for name in names if not workspace.may_be_shown((tmp_path / name).as_posix(), ())}
        files = (users_rules, tmp_path / ".git/info/exclude", *tmp_path.rglob(".gitignore"))
        shown = {path: path.read_bytes() for path in files}
        assert hidden == ignored, (hidden ^ ignored, shown)
        n_ignored, n_names = n_ignored + len(ignored), n_names + len(names)
    assert 0.1 * n_names < n_ignored < 0.9 * n_names


def test_the_rules_of_a_work_tree_and_of_a_submodule_are_those_of_their_repository(tmp_path, users_rules):
    (tmp_path / "main/.git/info").mkdir(parents=True)
    (tmp_path / "main/.git/info/exclude").write_text("private.py\n")
    for name, link, common in (("tree", "../main/.git/worktrees/tree", "../.."), ("sub", "../main/.git", None)):
        write(tmp_path / name, {".git": f"gitdir: {link}\n", "private.py": "", "a.py": "", "b/private.py": ""})
        if common is not None:
            write(tmp_path / name / link, {"commondir": f"{common}\n"})
        shown = [
            path
            for path in ("private.py", "a.py", "b/private.py")
            if is_shown(Workspace(tmp_path / name), tmp_path / name, path)
        ]
        assert shown == ["a.py"], name
    users_rules.write_text("a.py\n")
    assert not is_shown(Workspace(tmp_path / "tree"), tmp_path / "tree", "a.py")


@pytest.mark.parametrize("name", ["/dev/null", "", "missing", "folder"])
def test_a_users_file_of_rules_that_is_no_file_has_no_rules(tmp_path, users_rules, name):
    users_rules.parent.joinpath("folder").mkdir()
    users_rules.parent.joinpath("more").write_text(f"[core]\n\texcludesFile = {name and users_rules.parent / name}\n")
    assert is_shown(write(tmp_path, {".git/HEAD": "", "a.py": ""}), tmp_path, "a.py")


@pytest.mark.parametrize("content", ["", "gitdir: ", "gitdir: \0", "gitdir: nowhere", "\xff" * 9000, "gitdir: .git"])
def test_a_git_file_that_leads_nowhere_has_no_rules(tmp_path, content):
    assert is_shown(write(tmp_path, {".git": content, "a.py": ""}), tmp_path, "a.py")


@pytest.mark.usefixtures("users_rules")
def test_without_git_the_users_rules_are_at_their_usual_place(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    workspace = write(tmp_path, {".git/HEAD": "", "settings/git/ignore": "a.py\n", "a.py": "", "b.py": ""})
    assert [name for name in ("a.py", "b.py") if is_shown(workspace, tmp_path, name)] == ["b.py"]


CASED = "private/a.py Private/a.py a.log a.LOG b/KEEP.log src/x_generated.py src/Bx.py src/bx.py src/d.py"


@pytest.mark.parametrize("ignores_case", [False, True])
def test_rules_ignore_case_where_the_file_system_does(tmp_path, users_rules, ignores_case):
    """The second spelling of `.git` exists there without being made."""
    if shutil.which("git") is None:
        pytest.skip("git is not here")
    git = ["git", "-C", str(tmp_path), "-c", f"core.ignoreCase={ignores_case}"]
    subprocess.run([*git, "init", "-q", "--template="], check=True)  # noqa: S603  our own
    if ignores_case:
        (tmp_path / ".GiT").mkdir(exist_ok=True)
    elif (tmp_path / ".GiT").exists():
        pytest.skip("this file system ignores case")
    rules = "Private/\n*.LOG\n/src/*_Generated.py\n!keep.log\n"
    users_rules.write_text("D.py\n")
    write(tmp_path, {".gitignore": rules, "src/.gitignore": "[a-c]x.py\n"})
    names = CASED.split()
    listed = subprocess.run([*git, "check-ignore", "--no-index", *names], capture_output=True, check=False).stdout  # noqa: S603
    workspace = Workspace(tmp_path)
    hidden = [name for name in names if not workspace.may_be_shown((tmp_path / name).as_posix(), ())]
    assert hidden == listed.decode().split()
    assert ("private/a.py" in hidden) is ignores_case


def test_links_to_outside_and_to_secrets_are_not_followed_and_loops_end(tmp_path):
    root = tmp_path / "root"
    write(tmp_path, {"outside/a.py": "x = 1\n", "root/.env": "KEY=1\n", "root/b.py": "y = 1\n", "root/i.py": ""})
    write(root, {".gitignore": "i.py\n"})
    links = {"out.py": "../outside/a.py", "folder": "../outside", "env.py": ".env", "loop": "loop", "here": "."}
    for name, target in (links | {"good.py": "b.py", "ignored.py": "i.py", "gone.py": "no.py"}).items():
        (root / name).symlink_to(target)
    workspace = Workspace(root)
    for name in ("out.py", "folder/a.py", "env.py", "loop", "loop/a.py", "ignored.py", "gone.py"):
        assert not is_shown(workspace, root, name), name
    assert is_shown(workspace, root, "good.py")
    assert is_shown(workspace, root, "here/here/here/b.py")
    assert not workspace.may_be_shown((root / "env.py").as_posix(), ())


def test_a_link_with_a_new_target_is_followed_again(tmp_path):
    workspace = write(tmp_path, {"a.py": "x = 1\n", ".env": "x = 1\n"})
    link = tmp_path / "link.py"
    link.symlink_to("a.py")
    assert is_shown(workspace, tmp_path, "link.py")
    link.unlink()
    link.symlink_to(".env")
    assert not is_shown(workspace, tmp_path, "link.py")


def test_a_root_may_be_a_link(tmp_path):
    write(tmp_path / "real", {"a.py": "x = 1\n"})
    (tmp_path / "link").symlink_to("real")
    workspace = Workspace(tmp_path / "link")
    assert is_shown(workspace, tmp_path / "link", "a.py")
    assert workspace.name_of((tmp_path / "real/a.py").as_posix()) == "a.py"


def test_files_that_are_no_text_are_not_read(tmp_path):
    files = {"nul.py": b"x\0", "latin.py": b"\xe4", "large.py": b"x" * (MAX_FILE_BYTES + 1), "folder/a.py": b""}
    workspace = write(tmp_path, files)
    os.mkfifo(tmp_path / "pipe.py")  # opening it would block for ever
    for name in ("nul.py", "latin.py", "large.py", "folder", "pipe.py", "no.py", "no\0.py", "x" * 5000):
        assert not is_shown(workspace, tmp_path, name), name


def test_without_a_root_nothing_is_read(tmp_path):
    write(tmp_path, {"a.py": "x = 1\n"})
    assert not is_shown(Workspace(None), tmp_path, "a.py")
    assert Workspace(None).may_be_shown((tmp_path / "a.py").as_posix(), ())
    assert Workspace(None).may_be_shown("Untitled-1", ())
    assert not Workspace(None).may_be_shown(".env", ())


def test_a_file_without_read_permission_is_skipped(tmp_path):
    workspace = write(tmp_path, {"a.py": "x = 1\n"})
    (tmp_path / "a.py").chmod(0)
    if os.access(tmp_path / "a.py", os.R_OK):
        pytest.skip("this user may read everything")
    assert not is_shown(workspace, tmp_path, "a.py")
