"""The commands on a real command line: output, errors and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from starcoder_lsp import __version__, cli
from starcoder_lsp.cli.demo import DEFAULT_LINE
from starcoder_lsp.engine.loading import DEMONSTRATOR

from .conftest import ENVIRONMENT, ROOT, SERVER, Wire

CODE = "import os\n\n\ndef read(path):\n    with open(path) as \n\n\ndef write(path, text):\n    pass\n"
PLACE = "5:24"
TIMEOUT_S = 60


def run(*arguments: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S603  our own program
        [*SERVER, *arguments], cwd=cwd, env={**ENVIRONMENT, **env}, capture_output=True, check=False, timeout=TIMEOUT_S
    )


def assert_refused(ran: subprocess.CompletedProcess[bytes], *words: str) -> None:
    """Check for exit code 2, no standard output, and one line on standard error that begins with the program's name."""
    assert ran.returncode == 2, ran
    assert ran.stdout == b""
    (line,) = ran.stderr.decode().splitlines()
    assert line.startswith("starcoder-lsp: ")
    for word in words:
        assert word in line


def assert_main_refuses(capsys: pytest.CaptureFixture[str], arguments: Sequence[str], *words: str) -> None:
    """Check as `assert_refused` does, in this process: these commands end before a server starts."""
    code = cli.main(arguments)
    out, err = capsys.readouterr()
    assert_refused(subprocess.CompletedProcess([], code, out.encode(), err.encode()), *words)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "example.py"
    path.write_text(CODE)
    return path


# Completing


def test_complete_writes_the_text_and_nothing_else(source: Path) -> None:
    ran = run("complete", f"{source}:{PLACE}")
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout.strip()
    assert run("complete", f"{source}:{PLACE}").stdout == ran.stdout


def test_complete_as_json(source: Path) -> None:
    ran = run("complete", f"{source}:{PLACE}", "--json")
    assert (ran.returncode, ran.stderr) == (0, b"")
    result = json.loads(ran.stdout)
    assert set(result) == {"text", "reason", "range", "stopReason", "filters", "tokens", "timingsMs"}
    assert result["range"] == {"start": {"line": 5, "column": 24}, "end": {"line": 5, "column": 24}}
    assert set(result["tokens"]) == {"prompt", "reused", "evaluated", "generated"}
    assert (
        result["tokens"]["evaluated"] >= result["tokens"]["prompt"] > 0
    )  # a line that is not whole takes a second request
    assert set(result["timingsMs"]) == {"window", "prefill", "decode", "total"}
    assert result["text"]
    assert result["text"] + "\n" == run("complete", f"{source}:{PLACE}").stdout.decode()


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_complete_writes_the_servers_suggestion(wire: Callable[..., Wire], tmp_path: Path, newline: str) -> None:
    path = tmp_path / "example.py"
    code = CODE.replace("with open(path) as ", "for line in path:").replace("\n", newline)
    path.write_bytes(code.encode())
    line, character = 4, len("    for line in path:")
    server = wire()
    server.start({"debounce": {"mode": "off"}})
    server.model_is_loaded()
    server.open(path.as_uri(), code)
    (item,) = server.complete(1, path.as_uri(), line, character)["result"]["items"]
    assert server.stop() == 0
    ran = run("complete", f"{path}:{line + 1}:{character + 1}")
    assert ran.stdout.decode() == item["insertText"] + "\n"
    if newline in item["insertText"]:
        assert item["insertText"].count("\n") == item["insertText"].count(newline)


def test_relative_paths_and_odd_file_names_are_accepted(tmp_path: Path) -> None:
    wanted = None
    for name in ("example.py", "a:b.py", "a:1:2.py", "sp ace ü.py", "-x.py"):
        (tmp_path / name).write_text(CODE)
        ran = run("complete", "--", f"{name}:{PLACE}", cwd=tmp_path)
        assert (ran.returncode, ran.stderr) == (0, b""), name
        wanted = wanted or ran.stdout
        assert ran.stdout == wanted


def test_columns_count_characters_without_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "example.py"
    path.write_bytes("\ufeff😀 = 'é'".encode())
    ran = run("complete", f"{path}:1:8", "--json")
    assert json.loads(ran.stdout)["range"]["start"] == {"line": 1, "column": 8}
    assert_refused(run("complete", f"{path}:1:9"), "column 9", "last one is 8")


def test_output_is_utf_8_whatever_the_terminal_is(source: Path) -> None:
    ran = run("complete", f"{source}:{PLACE}", PYTHONIOENCODING="ascii")
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout == run("complete", f"{source}:{PLACE}").stdout


def test_the_ends_of_a_line_and_of_a_file_are_valid_places(source: Path) -> None:
    for place in ("1:10", "10:1"):
        assert run("complete", f"{source}:{place}", "--json").returncode == 0


# Errors


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("missing.py:1:1", ["missing.py", "No such file"]),
        ("example.py/x:1:1", ["Not a directory"]),
        (".:1:1", ["is a directory"]),
        ("binary.py:1:1", ["binary.py", "NUL"]),
        ("latin.py:1:1", ["latin.py", "not a UTF-8 text file"]),
        ("big.py:1:1", ["big.py", "larger than 4 MiB"]),
        ("pipe:1:1", ["is not a file"]),
        ("example.py:11:1", ["no line 11", "last one is 10"]),
        ("example.py:999999999:1", ["no line"]),
        ("example.py:1:11", ["no column 11", "last one is 10"]),
        *((place, ["FILE:LINE:COLUMN"]) for place in ("", "example.py", "example.py:1", ":1:1", "example.py:0:1")),
        *((f"example.py:1:{column}", ["FILE:LINE:COLUMN"]) for column in ("0", "-1", "x", "", "1.5", "²", "9" * 5000)),
    ],
)
def test_an_invalid_place_is_refused(
    source: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    words: list[str],
) -> None:
    folder = source.parent
    (folder / "binary.py").write_bytes(b"x = 1\0\n")
    (folder / "latin.py").write_bytes("é".encode("latin-1"))
    (folder / "big.py").write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    os.mkfifo(folder / "pipe")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", ENVIRONMENT["XDG_CONFIG_HOME"])
    assert_main_refuses(capsys, ["complete", place], *words)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "no model file"),
        (b"", "empty"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (DEMONSTRATOR.read_bytes()[:500_000], "cut off"),
        (DEMONSTRATOR.read_bytes()[:-1000], "cut off"),
    ],
)
def test_an_invalid_model_file_is_refused(source: Path, content: bytes | None, word: str) -> None:
    model = source.parent / "model.gguf"
    if content is not None:
        model.write_bytes(content)
    assert_refused(run("complete", f"{source}:{PLACE}", "--model", str(model)), word, str(model))


def test_a_tilde_in_the_path_of_a_model_is_the_home_folder(source: Path) -> None:
    link = source.parent / "linked.gguf"
    link.symlink_to(DEMONSTRATOR)
    ran = run("complete", f"{source}:{PLACE}", "--model", "~/linked.gguf", HOME=str(source.parent))
    assert (ran.returncode, ran.stderr) == (0, b"")


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["complete"],
        ["complete", "a:1:1", "b:1:1"],
        ["complete", "a:1:1", "--model"],
        ["--no-such-option"],
        ["serve", "extra"],
        ["demo", "missing.py:1"],
        ["demo", "README.md"],
        ["demo", "README.md:99999"],
        ["demo", "README.md:2"],
        ["--tcp"],
        *(["--tcp", place] for place in ("", "2087", "localhost", "localhost:", ":2087", "a:b", "127.0.0.1:65536")),
        ["--tcp", "127.0.0.1:²"],
        ["--tcp", "no-such-host.invalid:2087"],
        ["--tcp=1.2.3.4.5:1"],
        *(["--tcp", f"{name}:2087"] for name in (".", "a..b", "a" * 64, "ä" * 64, "a\x7fb")),
        *(["models", command, "~no-such-user/a.gguf"] for command in ("path", "use", "verify", "remove")),
        ["stats", "gate", "--holes", "-5"],
        ["eval", "a" * 300],
        ["bench", "context", "a" * 300],
    ],
)
def test_invalid_arguments_are_refused(arguments: list[str]) -> None:
    assert_refused(run(*arguments))


def test_a_port_in_use_is_an_error() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert_refused(run("--tcp", f"127.0.0.1:{taken.getsockname()[1]}"), "in use")


def test_help_and_version_are_printed() -> None:
    assert run("--version").stdout.decode() == f"starcoder-lsp {__version__}\n"
    ran = run("--help")
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"complete" in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["demo", "中 x.py:1"], "\\u4e2d x.py, line 1"),
        (["eval", "中 x.py", "--holes", "1", "--against", "enabled=false"], "\\xb1 0.0%"),
        (["models", "path", "中.gguf"], "\\u4e2d.gguf\n"),
        (["doctor"], "starcoder-lsp"),
    ],
)
def test_what_the_terminal_cannot_show_is_escaped(tmp_path: Path, arguments: list[str], shown: str) -> None:
    (tmp_path / "中 x.py").write_text("x = 1\n")
    ran = run(*arguments, cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert b"Traceback" not in ran.stderr
    assert shown in ran.stdout.decode("ascii")


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["demo", "a[/b]/[slug] :warning:.py:1"], "[slug] :warning:.py, line 1"),
        (["eval", "a[/b]/[slug] :warning:.py", "--holes", "1"], "a[/b]/[slug] :warning:.py; "),
    ],
)
def test_a_files_name_is_shown_as_it_is(tmp_path: Path, arguments: list[str], shown: str) -> None:
    path = tmp_path / "a[/b]/[slug] :warning:.py"
    path.parent.mkdir(parents=True)
    path.write_text("x = 1\n")
    ran = run(*arguments, cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert shown in ran.stdout.decode()


# Settings


def settings_file(folder: Path, text: str) -> dict[str, str]:
    path = folder / "starcoder-lsp" / "starcoder-lsp.toml"
    path.parent.mkdir()
    path.write_text(text)
    return {"XDG_CONFIG_HOME": str(folder), "HOME": str(folder)}


@pytest.mark.skipif(sys.platform != "linux", reason="the folder of settings is elsewhere on other systems")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[completion]\nmaxTokens = 'many'\nmaxTokenz = 3\n", ["completion.maxTokens", "completion.maxTokenz"]),
        ("[completion\n", ["not valid TOML"]),
    ],
)
def test_faulty_settings_are_reported_and_the_command_runs(source: Path, text: str, words: list[str]) -> None:
    ran = run("complete", f"{source}:{PLACE}", **settings_file(source.parent, text))
    assert ran.returncode == 0
    assert ran.stdout.strip()
    lines = ran.stderr.decode().splitlines()
    assert len(lines) == len(words)
    assert all(word in line for line, word in zip(lines, words, strict=True))


@pytest.mark.skipif(sys.platform != "linux", reason="the folder of settings is elsewhere on other systems")
def test_a_file_excluded_by_the_settings_is_not_completed(source: Path) -> None:
    env = settings_file(source.parent, "disabledGlobs = ['**/example.py']\n")
    assert_refused(run("complete", f"{source}:{PLACE}", **env), "disabledGlobs")


# Output that cannot be written


@pytest.mark.parametrize("arguments", [["complete", "{source}:5:24", "--json"], ["--help"], ["settings"]])
def test_a_broken_pipe_is_a_one_line_error(source: Path, arguments: list[str]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as output:
        ran = subprocess.run(  # noqa: S603  our own program
            [*SERVER, *(a.format(source=source) for a in arguments)],
            stdout=output,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            check=False,
            timeout=TIMEOUT_S,
        )
    assert (ran.returncode, ran.stderr) == (2, b"starcoder-lsp: standard output: Broken pipe\n")


def test_a_full_disk_is_reported(source: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with full.open("wb") as output:
        ran = subprocess.run(  # noqa: S603  our own program
            [*SERVER, "complete", f"{source}:{PLACE}"],
            stdout=output,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            check=False,
            timeout=TIMEOUT_S,
        )
    assert ran.returncode == 2
    assert len(ran.stderr.splitlines()) == 1


def test_ctrl_c_ends_a_command_with_one_line(source: Path) -> None:
    source.write_text("x = 1\n" * 20_000)
    script = (
        "import os, signal, starcoder_lsp.engine.generation as generation, starcoder_lsp.cli as cli\n"
        "generation.time.perf_counter = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
        "raise SystemExit(cli.main())\n"
    )
    ran = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-c", script, "complete", f"{source}:5:1"],
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert (ran.returncode, ran.stderr) == (2, b"starcoder-lsp: interrupted\n")


# The demonstration


def test_the_demo_shows_ghost_text_for_a_typed_line(tmp_path: Path) -> None:
    path = tmp_path / "demo.py"
    path.write_text("a = 1\n    s = '😀' \nb = 2\n")
    ran = run("demo", f"{path}:2", COLUMNS="40", **settings_file(tmp_path, "nonsense = 1\n[host]\nshared = false\n"))
    assert (ran.returncode, ran.stderr) == (0, b"")
    lines = ran.stdout.decode().splitlines()
    typed = "s = '😀' "
    shown = [line for line in lines if " evaluated  " in line]
    assert len(shown) == len(typed) + 1
    assert all(f"  {typed[:n]}│" in line for n, line in enumerate(shown))
    assert any("requests" in line and str(len(shown)) in line for line in lines)
    assert any("prompt tokens evaluated a keystroke, median │" in line for line in lines)


def test_the_demo_types_a_line_of_this_program_by_default() -> None:
    ran = run("demo")
    assert (ran.returncode, ran.stderr) == (0, b"")
    lines = ran.stdout.decode().splitlines()
    assert any(f"{DEFAULT_LINE}│" in line for line in lines)


@pytest.mark.skipif(sys.platform != "linux", reason="the folder of settings is elsewhere on other systems")
def test_the_demo_reports_why_there_is_no_model(source: Path) -> None:
    env = settings_file(source.parent, "[model]\npath = '/no/such.gguf'\n")
    ran = run("demo", f"{source}:1", **env)
    assert ran.returncode == 2
    (line,) = ran.stderr.decode().splitlines()
    assert line.startswith("starcoder-lsp: There is no model file")


def test_the_demo_reports_the_death_of_the_server(source: Path) -> None:
    script = (
        "import sys, starcoder_lsp.lsp.client as client, starcoder_lsp.cli as cli\n"
        "client.SERVER_COMMAND = (sys.executable, '-c', 'raise SystemExit(\"out of luck\")')\n"
        "raise SystemExit(cli.main())\n"
    )
    ran = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-c", script, "demo", f"{source}:1"],
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert ran.returncode == 2
    (line,) = ran.stderr.decode().splitlines()
    assert "the server ended: out of luck" in line


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", [["settings"], ["--help"], ["doctor"], ["bench", "--help"]])
def test_a_full_device_is_a_one_line_error(arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run([*SERVER, *arguments], stdout=full, stderr=subprocess.PIPE, env=ENVIRONMENT, check=False)  # noqa: S603
    assert (ran.returncode, ran.stderr) == (2, b"starcoder-lsp: standard output: No space left on device\n")


@pytest.mark.parametrize("number", ["9" * 5000, str(10**10), "-1", "1e9", "²"])
def test_invalid_numbers_of_options_are_refused(number: str) -> None:
    assert_refused(run("eval", ".", "--holes", number), "number")
