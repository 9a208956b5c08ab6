"""The commands `starcoder-lsp bench replay` and `compare`, with tiny traces."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from starcoder_lsp.cli import CommandError
from starcoder_lsp.cli.bench import llama_server
from starcoder_lsp.engine.loading import DEMONSTRATOR

from .conftest import ENVIRONMENT, SERVER, TIMEOUT_S
from .test_cli import assert_main_refuses, assert_refused, run, settings_file

START = "fn main() {\n}\n\nfn last() {\n}\n"
TYPED = "let x = 1;"
STUB = """
import http.server, json, os, socket, sys
port = int(sys.argv[sys.argv.index("--port") + 1])
if "WATCHER" in os.environ:
    alive = socket.create_connection(("127.0.0.1", int(os.environ["WATCHER"])))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, {})
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert request["n_predict"] == 1 and request["cache_prompt"] is True
        REPLY
    def answer(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
"""A stand-in for llama-server, which answers without a model."""
ANSWER = 'self.answer(200, {"timings": {"prompt_n": 7, "cache_n": 5}})'


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A line typed into a function, and one character typed into another: 12 edits, of which 9 are typing."""
    at = START.index("}\n\n")
    patches = [(at + n, 0, character) for n, character in enumerate(TYPED)]
    patches += [(len(START) + len(TYPED) - 2, 0, "y"), (0, 1, "")]
    path = tmp_path / "tiny.json"
    path.write_text(
        json.dumps({"name": "main.rs", "startContent": START, "txns": [{"patches": [patch]} for patch in patches]})
    )
    return path


def program(folder: Path, source: str) -> Path:
    path = folder / "llama-server"
    path.write_text(f"#!{sys.executable}\n{source}")
    path.chmod(0o755)
    return path


def comparison(trace: Path, server: Path, *more: str, model: Path = DEMONSTRATOR) -> tuple[str, ...]:
    return ("bench", "compare", str(trace), "--llama-server", str(server), "--model", str(model), *more)


# Replaying


def test_replay_reports_json(trace: Path) -> None:
    ran = run("bench", "replay", str(trace), "--json")
    assert (ran.returncode, ran.stderr) == (0, b"")
    report = json.loads(ran.stdout)
    assert (report["trace"], report["as"], report["first"]) == ("tiny.json", "main.rs", 0)
    assert report["settings"]["context"].items() >= {"maxTokens": 1920, "suffixShare": 0.2}.items()
    assert report["model"]["bytes"] == DEMONSTRATOR.stat().st_size
    assert report["machine"]["cores"] >= 1
    assert report["parkedDocuments"] == 0
    if sys.platform == "linux":
        assert report["peakMemoryBytes"] > DEMONSTRATOR.stat().st_size
    groups = report["edits"]
    agreeing = groups.pop("agreeing")
    assert agreeing["edits"] < 9
    assert agreeing.get("fromMemory", 0) <= groups["typing"]["fromMemory"]
    assert {name: group["edits"] for name, group in groups.items()} == {"all": 12, "typing": 9, "other": 3}
    for figure in ("evaluatedMean", "reusedMean"):
        total = sum(groups[name]["edits"] * groups[name][figure] for name in ("typing", "other"))
        assert total == pytest.approx(12 * groups["all"][figure], abs=0.2)
    for group in groups.values():
        assert 0 < group["overheadMsP50"] < group["latencyMsP50"] <= group["latencyMsP95"]
        assert group["evaluatedMean"] > 0


def test_replay_prints_a_table_and_may_begin_at_an_edit(trace: Path) -> None:
    ran = run("bench", "replay", str(trace), "--as", "other.go", "--first", "8", "--edits", "1", COLUMNS="40")
    assert (ran.returncode, ran.stderr) == (0, b"")
    rows = [line.split()[1:-1:2] for line in ran.stdout.decode().splitlines() if line.startswith("|")]
    assert rows[0] == ["edits", "all", "typing", "other", "agreeing"]
    assert " ".join(rows[2]) == "number 1 0 1 0"
    assert "tiny.json as other.go from edit 8; " in ran.stdout.decode()
    assert "all edits" in ran.stdout.decode()


@pytest.mark.skipif(sys.platform != "linux", reason="the folder of settings is elsewhere on other systems")
def test_replay_uses_only_the_model_of_the_users_settings(trace: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked.gguf"
    linked.symlink_to(DEMONSTRATOR)
    env = settings_file(tmp_path, "enabled = false\n[model]\npath = '~/linked.gguf'\n")
    ran = run("bench", "replay", str(trace), "--edits", "2", "--json", **env)
    assert json.loads(ran.stdout)["edits"]["all"]["evaluatedMean"] > 0
    linked.unlink()
    assert_refused(run("bench", "replay", str(trace), **env), "no model file", "linked.gguf")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--first", "12"], "tiny.json has 12 edits"),
        (["--first", "-1"], "argument --first: '-1' is no whole number from 0"),
        (["--edits", "0"], "tiny.json has 12 edits"),
    ],
)
def test_an_invalid_range_of_edits_is_refused(
    trace: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert_main_refuses(capsys, ["bench", "replay", str(trace), *arguments], words)


def test_replay_without_a_trace_or_model_is_refused(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_main_refuses(capsys, ["bench"], "{replay,synthetic,compare,context,fleet}")
    assert_main_refuses(capsys, ["bench", "replay"], "TRACE")
    assert_main_refuses(capsys, ["bench", "replay", "missing.json"], "missing.json", "No such file")
    assert_main_refuses(capsys, ["bench", "replay", str(trace), "--edits", "x"], "--edits")
    assert_main_refuses(capsys, ["bench", "replay", str(trace), "--as", "src/a.py"], "'src/a.py'", "a file name")
    for more, *words in (
        (["--against", "missing.json"], "missing.json", "No such file"),
        (["--against", str(trace)], "tiny.json is no saved report of bench replay"),
        (["--save", "missing/a.json"], "missing/a.json", "No such file"),
        (["--seconds", "0"], "--seconds 0: expected more than 0"),
        (["--seconds", "nan"], "--seconds nan"),
    ):
        assert_main_refuses(capsys, ["bench", "replay", str(trace), *more], *words)
    assert_main_refuses(capsys, ["bench", "replay", str(trace), "--model", "no.gguf"], "no model file no.gguf")


def test_replay_reports_the_death_of_the_server(trace: Path) -> None:
    script = (
        "import sys, starcoder_lsp.lsp.client as client, starcoder_lsp.cli as cli\n"
        "client.SERVER_COMMAND = (sys.executable, '-c', 'raise SystemExit(\"out of luck\")')\n"
        "raise SystemExit(cli.main())\n"
    )
    ran = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-c", script, "bench", "replay", str(trace)],
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert_refused(ran, "the server ended: out of luck")


# Comparing


def test_compare_reports_the_other_servers_counts(trace: Path, tmp_path: Path) -> None:
    server = program(tmp_path, STUB.replace("REPLY", ANSWER))
    ran = run(*comparison(trace, server, "--edits", "11", "--batch", "1024", "--json"))
    assert (ran.returncode, ran.stderr) == (0, b"")
    report = json.loads(ran.stdout)
    assert report["settings"]["completion"] == {"maxTokens": 1, "timeoutMs": 120_000}
    assert report["llamaServer"][-4:] == ["--cache-reuse", "256", "--parallel", "1"]
    assert report["llamaServer"][report["llamaServer"].index("-b") + 1] == "1024"
    threads = str(report["settings"]["model"]["threads"])
    assert report["llamaServer"][report["llamaServer"].index("-t") + 1] == threads
    assert {name: group["edits"] for name, group in report["edits"].items()} == {"all": 11, "typing": 9, "other": 2}
    for group in report["edits"].values():
        assert (group["llamaServer"]["evaluatedMean"], group["llamaServer"]["reusedMean"]) == (7, 5)
        assert group["ours"]["evaluatedMean"] > 0
        ratio = group["llamaServer"]["firstTokenMsP50"] / group["ours"]["firstTokenMsP50"]
        assert group["ratioOfMedians"] == pytest.approx(ratio, abs=0.1 + 0.1 * ratio)


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is no signal there")
def test_compare_reports_the_results_before_ctrl_c(trace: Path, tmp_path: Path) -> None:
    pause = 'Handler.n = getattr(Handler, "n", 0) + 1; Handler.n < 4 or (alive.send(b"!"), alive.recv(1)); '
    server = program(tmp_path, STUB.replace("REPLY", pause + ANSWER))
    with socket.create_server(("127.0.0.1", 0)) as watcher:
        watcher.settimeout(TIMEOUT_S)
        env = {**ENVIRONMENT, "WATCHER": str(watcher.getsockname()[1])}
        command = [*SERVER, *comparison(trace, server, "--json")]
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603  our own program
            alive, _ = watcher.accept()
            alive.settimeout(TIMEOUT_S)
            with alive:
                assert alive.recv(1) == b"!"  # the fourth edit is being compared
                process.send_signal(signal.SIGINT)
                out, _err = process.communicate(timeout=TIMEOUT_S)
    report = json.loads(out)
    assert process.returncode == 130
    assert report["end"] == "ended by Ctrl-C: 3 of 12"
    assert report["edits"]["all"]["edits"] == 3


def test_figures_are_saved_and_compared_with_later_ones(trace: Path, tmp_path: Path) -> None:
    saved = tmp_path / "before.json"
    ran = run("bench", "replay", str(trace), "--edits", "3", "--json", "--save", str(saved))
    assert json.loads(saved.read_bytes()) == json.loads(ran.stdout)
    ran = run("bench", "replay", str(trace), "--edits", "2", "--against", str(saved))
    assert ran.returncode == 0
    lines = ran.stdout.decode().splitlines()
    (number,) = [line for line in lines if line.startswith("| number")]
    assert [cell.strip() for cell in number.split("|")[2:4]] == ["2 (was 3)", "1 (was 2)"]


def test_compare_prints_a_table(trace: Path, tmp_path: Path) -> None:
    ran = run(*comparison(trace, program(tmp_path, STUB.replace("REPLY", ANSWER)), "--edits", "1"))
    assert (ran.returncode, ran.stderr) == (0, b"")
    rows = [line.split()[1:6:2] for line in ran.stdout.decode().splitlines() if line.startswith("|")]
    servers = ("starcoder-lsp", "llama-server")
    assert rows[2:] == [[name, s, n] for name, n in (("all", "1"), ("typing", "0"), ("other", "1")) for s in servers]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("print('one'); raise SystemExit('out of luck\\n')", ["ended with code 1: out of luck"]),
        ("", ["ended with code 0: it said nothing"]),
        (STUB.replace("REPLY", "print('no memory', flush=True); os._exit(3)"), ["ended with code 3", "no memory"]),
        (STUB.replace("REPLY", "self.answer(501, {'error': {'message': 'cannot infill'}})"), ["cannot infill"]),
        (STUB.replace("REPLY", "self.answer(200, {'timings': {}})"), ["timings.prompt_n"]),
        (STUB.replace("REPLY", "self.answer(500, [])"), ["timings.prompt_n"]),
        (STUB.replace("REPLY", "self.wfile.write(b'?\\r\\n\\r\\n')"), ["gave no answer"]),
    ],
)
def test_compare_reports_failures_of_the_other_server(
    trace: Path, tmp_path: Path, source: str, words: list[str]
) -> None:
    server = program(tmp_path, source)
    assert_refused(run(*comparison(trace, server)), str(server), *words)


def test_compare_without_a_program_or_model_is_refused(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuses(arguments: Sequence[str], *words: str) -> None:
        assert_main_refuses(capsys, arguments, *words)

    server, no_model = program(tmp_path, STUB), tmp_path / "missing.gguf"
    refuses(comparison(tmp_path / "missing.json", server), "missing.json", "No such file")
    refuses(comparison(trace, server, model=no_model), "no model file", "missing.gguf")
    refuses(comparison(trace, tmp_path / "missing"), "missing", "cannot be started: No such file")
    refuses(comparison(trace, trace), "tiny.json cannot be started: Permission denied")
    refuses(comparison(trace, server, "--edits", "0"), "has 12 edits")
    refuses(comparison(trace, server, "--batch", "0"), "--batch 0: expected at least 64")
    refuses(["bench", "compare", str(trace), "--model", "x"], "--llama-server")
    refuses(["bench", "compare", str(trace), "--llama-server", "x"], "--model")


def test_compare_gives_up_a_server_that_is_never_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_server, "START_TIMEOUT_S", 0.0)
    server = program(tmp_path, "import signal; signal.pause()")
    with pytest.raises(CommandError, match="not ready after 0 s"), llama_server.llama_server([str(server)]):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process together with its parent")
def test_the_other_server_ends_with_this_process_even_after_a_kill(trace: Path, tmp_path: Path) -> None:
    server = program(tmp_path, STUB.replace("REPLY", "while True: pass"))
    with socket.create_server(("127.0.0.1", 0)) as watcher:
        watcher.settimeout(TIMEOUT_S)
        env = {**ENVIRONMENT, "WATCHER": str(watcher.getsockname()[1])}
        with subprocess.Popen([*SERVER, *comparison(trace, server)], env=env) as process:  # noqa: S603  our own program
            alive, _ = watcher.accept()
            alive.settimeout(TIMEOUT_S)
            process.kill()
        with alive:
            assert alive.recv(1) == b""


@pytest.mark.parametrize(
    ("text", "place", "parts"),
    [
        ("a\n  bc d\ne\nf", (1, 4), ("a\n", "  bc", " d\ne\nf\n", 2)),
        ("a\n    \nb", (1, 4), ("a\n", "", "\nb\n", 0)),  # a blank line counts as empty
        ("ab", (0, 1), ("\n", "a", "b\n\n", 0)),
    ],
)
def test_requests_have_the_layout_of_llama_vim(
    text: str, place: tuple[int, int], parts: tuple[str, str, str, int]
) -> None:
    request = llama_server.infill(text, *place)
    assert tuple(request[key] for key in ("input_prefix", "prompt", "input_suffix", "n_indent")) == parts


def test_the_layout_has_256_lines_before_and_64_after_the_cursor() -> None:
    request = llama_server.infill("\n".join(f"line {n}" for n in range(1000)), 500, 0)
    assert str(request["input_prefix"]).splitlines() == [f"line {n}" for n in range(244, 500)]
    assert str(request["input_suffix"]).splitlines() == [f"line {n}" for n in range(500, 565)]


def test_compare_with_the_real_llama_server(trace: Path) -> None:
    server = os.environ.get("STARCODER_LLAMA_SERVER") or shutil.which("llama-server")
    if server is None:
        pytest.skip("no llama-server: name one in STARCODER_LLAMA_SERVER (bench/README.md says how to build it)")
    ran = run(*comparison(trace, Path(server), "--json"))
    assert (ran.returncode, ran.stderr) == (0, b"")
    typing = json.loads(ran.stdout)["edits"]["typing"]
    assert typing["llamaServer"]["evaluatedMean"] >= 1
    assert typing["llamaServer"]["reusedMean"] > 0
