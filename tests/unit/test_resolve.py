"""Import statements resolved to files, in a small project for each language with rules for paths."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from starcoder_lsp.documents import resolve
from starcoder_lsp.documents.documents import Documents
from starcoder_lsp.documents.languages import all_languages, grammars_folder, load_query
from starcoder_lsp.documents.resolve import imported_files


def project(root: Path, files: str) -> None:
    for name in files.split():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("\n")


def resolved(root: Path, name: str, text: str) -> dict[str, set[str]]:
    """Return the imported files as paths below the root, each with the imported names; `*` for a whole module."""
    path = root / name
    snapshot = Documents().open(path.as_uri(), "", 1, text)
    files = imported_files(snapshot, path.as_posix(), root.as_posix())
    return {
        Path(file.path).relative_to(root).as_posix(): set(file.names) | ({"*"} if file.is_whole else set())
        for file in files
    }


@pytest.mark.parametrize(
    ("name", "statement", "expected"),
    [
        ("pkg/b.py", "from .a import One, Two as Deux", {"pkg/a.py": {"One", "Two"}}),
        ("pkg/b.py", "from . import a", {"pkg/a.py": {"a", "*"}}),
        ("pkg/b.py", "from . import Thing", {"pkg/__init__.py": {"Thing"}}),
        ("pkg/sub/c.py", "from ..a import (\n    One,  # first, of two\n    Two,\n)", {"pkg/a.py": {"One", "Two"}}),
        ("pkg/sub/c.py", "from ... import main", {"main.py": {"main", "*"}}),
        ("main.py", "import pkg.a as x, pkg.sub.c", {"pkg/a.py": {"a", "*"}, "pkg/sub/c.py": {"c", "*"}}),
        ("main.py", "from pkg.a import *", {"pkg/a.py": {"a", "*"}}),
        ("main.py", "from pkg import a, \\\n    Thing", {"pkg/a.py": {"a", "*"}, "pkg/__init__.py": {"Thing"}}),
        ("tests/test_lib.py", "from lib.deep import f", {"src/lib/deep.py": {"f"}}),
        ("src/lib/x.py", "if True:\n    pass\nimport lib.deep", {"src/lib/deep.py": {"deep", "*"}}),
        ("main.py", "import os, re\nfrom typing import Any\nfrom .nowhere import x\nfrom ....up import y", {}),
        ("main.py", "from pkg.a import", {}),
    ],
)
def test_python_imports_lead_to_files(tmp_path, name, statement, expected):
    project(tmp_path, "main.py pkg/__init__.py pkg/a.py pkg/b.py pkg/sub/c.py src/lib/__init__.py src/lib/deep.py")
    assert resolved(tmp_path, name, statement + "\n") == expected


@pytest.mark.parametrize(
    ("name", "statement", "expected"),
    [
        (
            "src/app.ts",
            "import { one, type Two, three as drei } from './lib/a'",
            {"src/lib/a.ts": {"one", "Two", "three"}},
        ),
        ("src/app.ts", "import type { Two } from './lib/a.js';", {"src/lib/a.ts": {"Two"}}),
        (
            "src/app.ts",
            'import Widget, { one } from "./ui"',
            {"src/ui/Widget.tsx": {"Widget", "*"}, "src/ui/index.ts": {"one"}},
        ),
        ("src/app.ts", "import * as a from './lib/a'", {"src/lib/a.ts": {"a", "*"}}),
        ("src/app.ts", "import './lib/a'", {"src/lib/a.ts": {"a", "*"}}),
        ("src/lib/a.ts", "export { one } from '../old'", {"src/old.js": {"one"}}),
        ("src/lib/a.ts", "export * from '..'", {"src/index.js": {"..", "*"}}),
        ("src/old.js", "const { one, two: deux } = require('./lib/a')", {"src/lib/a.ts": {"one", "two"}}),
        ("src/old.js", "const a = require('./lib/a.ts')", {"src/lib/a.ts": {"a"}}),
        ("src/view.tsx", "import { Widget } from './ui/Widget'", {"src/ui/Widget.tsx": {"Widget"}}),
        ("src/app.ts", "import React from 'react'; import x from './none'; import y from '../../../etc/y'", {}),
        ("src/app.ts", "import", {}),
    ],
)
def test_javascript_and_typescript_imports_lead_to_files(tmp_path, name, statement, expected):
    project(tmp_path, "src/lib/a.ts src/ui/index.ts src/ui/Widget.tsx src/old.js src/index.js")
    assert resolved(tmp_path, name, statement + "\n") == expected


def test_go_imports_lead_to_files(tmp_path):
    project(tmp_path, "svc/cmd/main.go svc/util/b.go svc/util/util.go svc/util/a.go svc/root.go svc/util/x.txt")
    (tmp_path / "svc/go.mod").write_text("// ours\nmodule example.com/me/svc // v1\n\ngo 1.22\n")
    paths = 'import (\n\t"fmt"\n\tu "example.com/me/svc/util"\n\t"example.com/me/svc"\n\t"example.com/you/x"\n)'
    text = f"package main\n\n{paths}\n"
    whole = {"util", "*"}
    assert resolved(tmp_path, "svc/cmd/main.go", text) == {
        "svc/util/util.go": whole,
        "svc/util/a.go": whole,
        "svc/util/b.go": whole,
        "svc/root.go": {"svc", "*"},
    }
    assert next(iter(resolved(tmp_path, "svc/cmd/main.go", text))) == "svc/util/util.go"
    (tmp_path / "svc/go.mod").write_text("no module\n")
    assert resolved(tmp_path, "svc/cmd/main.go", text) == {}


@pytest.mark.parametrize(
    ("name", "statement", "expected"),
    [
        ("src/main.rs", "mod a;", {"src/a.rs": {"a", "*"}}),
        ("src/main.rs", "pub(crate) mod b;", {"src/b/mod.rs": {"b", "*"}}),
        ("src/main.rs", "use a::One;", {"src/a.rs": {"One"}}),
        (
            "src/a.rs",
            "use crate::b::{self, c::{Two, Three as T}, Four};",
            {"src/b/mod.rs": {"self", "Four"}, "src/b/c.rs": {"Two", "Three"}},
        ),
        ("src/b/c.rs", "use super::Four;", {"src/b/mod.rs": {"Four"}}),
        ("src/b/c.rs", "use super::super::a::One;", {"src/a.rs": {"One"}}),
        ("src/a.rs", "pub use self::inner::Deep;", {"src/a/inner.rs": {"Deep"}}),
        ("src/b/c.rs", "use crate::Top;", {"src/lib.rs": {"Top"}}),
        ("src/a.rs", "use crate::b::c::*;", {"src/b/c.rs": {"c", "*"}}),
        ("src/a.rs", "use std::fmt::{self, Display};\nuse serde::Serialize;", {}),
    ],
)
def test_rust_imports_lead_to_files(tmp_path, name, statement, expected):
    project(tmp_path, "Cargo.toml src/main.rs src/lib.rs src/a.rs src/a/inner.rs src/b/mod.rs src/b/c.rs")
    assert resolved(tmp_path, name, statement + "\n") == expected


@pytest.mark.parametrize(
    ("name", "statement", "expected"),
    [
        ("src/main/java/org/x/App.java", "import org.x.util.Str;", {"src/main/java/org/x/util/Str.java": {"Str", "*"}}),
        ("src/test/java/org/x/AppTest.java", "import org.x.App;", {"src/main/java/org/x/App.java": {"App", "*"}}),
        ("App.java", "import static org.x.util.Str.join;", {"src/main/java/org/x/util/Str.java": {"join"}}),
        ("src/main/java/org/x/App.java", "import java.util.List;\nimport org.x.util.*;", {}),
    ],
)
def test_java_imports_lead_to_files(tmp_path, name, statement, expected):
    project(tmp_path, "src/main/java/org/x/App.java src/main/java/org/x/util/Str.java")
    assert resolved(tmp_path, name, f"package org.x;\n{statement}\nclass A {{}}\n") == expected


@pytest.mark.parametrize(
    ("name", "statement", "expected"),
    [
        ("src/net/a.c", '#include "b.h"', {"src/net/b.h": {"b.h", "*"}}),
        ("src/net/a.cpp", '#include "../util.hpp"', {"src/util.hpp": {"util.hpp", "*"}}),
        ("src/net/a.cpp", "#include <proj/api.h>\n#include <vector>", {"include/proj/api.h": {"api.h", "*"}}),
        ("src/net/a.m", '#import "b.h"', {"src/net/b.h": {"b.h", "*"}}),
        ("src/net/a.c", '#ifndef A\n#  include "net/b.h"\n#endif', {"src/net/b.h": {"b.h", "*"}}),
        ("src/net/a.c", '#include "/etc/passwd"\n#include "../../../x.h"\n#include "a/../b.h"', {}),
    ],
)
def test_c_includes_lead_to_files(tmp_path, name, statement, expected):
    project(tmp_path, "src/net/b.h src/util.hpp include/proj/api.h")
    assert resolved(tmp_path, name, statement + "\n") == expected


@pytest.mark.parametrize(
    ("name", "statement", "expected"),
    [
        ("src/app/b.ts", 'import { one } from "@/lib/a";', {"src/lib/a.ts": {"one"}}),
        ("src/app/b.ts", 'import x from "~/lib/a";', {"src/lib/a.ts": {"x"}}),
        ("src/app/b.ts", 'import { one } from "$lib/c";', {"src/lib/c.ts": {"one"}}),
        ("src/app/b.ts", 'import { one } from "@lib/a"; import a from "lib/a"; import c from "c";', {}),
        ("src/app/b.ts", 'const a = await import("../lib/a");', {"src/lib/a.ts": {"a", "*"}}),
        ("src/app/b.js", 'var a = require("../lib/a"), c = require("../lib/c").c;', {"src/lib/a.ts": {"a"}}),
        ("src/app/b.js", 'require("../lib/a");', {"src/lib/a.ts": {"a", "*"}}),
    ],
)
def test_more_javascript_imports_lead_to_files(tmp_path, name, statement, expected):
    project(tmp_path, "src/lib/a.ts src/lib/c.ts src/app/index.ts")
    found = resolved(tmp_path, name, statement + "\n")
    assert {file: names for file, names in found.items() if file in expected} == expected
    assert expected or not found


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("src/main/kotlin/org/x/App.kt", "import org.x.Util", {"src/main/kotlin/org/x/Util.kt": {"Util", "*"}}),
        ("src/main/kotlin/org/x/App.kt", "import org.x.Old as New", {"src/main/java/org/x/Old.java": {"Old", "*"}}),
        ("src/main/scala/org/x/App.scala", "import org.x.Box", {"src/main/scala/org/x/Box.scala": {"Box", "*"}}),
        ("src/main/scala/org/x/App.scala", "import org.x.Box._", {"src/main/scala/org/x/Box.scala": {"Box", "*"}}),
        (
            "src/main/scala/org/x/App.scala",
            "import org.x.{Box => Crate, Tool as T}",
            {"src/main/scala/org/x/Box.scala": {"Box", "*"}, "src/main/scala/org/x/Tool.scala": {"Tool", "*"}},
        ),
        ("lib/a.rb", "require_relative 'sub/b'", {"lib/sub/b.rb": {"b", "*"}}),
        ("spec/a_spec.rb", 'require "sub/b"\nrequire "json"', {"lib/sub/b.rb": {"b", "*"}}),
        ("lib/sub/b.rb", "require_relative '../a.rb'", {"lib/a.rb": {"a", "*"}}),
        ("lua/me/init.lua", "local o = require 'me.options'", {"lua/me/options.lua": {"options", "*"}}),
        ("x.lua", 'local me = require("me").setup', {"lua/me/init.lua": {"me", "*"}}),
        ("lib/src/a.dart", "import '../b.dart' show B;", {"lib/b.dart": {"b.dart", "*"}}),
        ("bin/main.dart", "import 'package:app/b.dart';\nimport 'dart:io';", {"lib/b.dart": {"b.dart", "*"}}),
        ("lib/b.dart", "part 'src/a.dart';", {"lib/src/a.dart": {"a.dart", "*"}}),
        ("app/Main.hs", "import qualified Data.Tree as T (leaf)", {"src/Data/Tree.hs": {"Tree", "*"}}),
        (
            "src/main.zig",
            'const a = @import("util/a.zig");\nconst s = @import("std");',
            {"src/util/a.zig": {"a.zig", "*"}},
        ),
        ("bin/run.sh", "source ../lib/log.sh", {"lib/log.sh": {"log.sh", "*"}}),
        ("bin/run.sh", '. "$(cd "$(dirname "$0")" && pwd)/../lib/log.sh"', {"lib/log.sh": {"log.sh", "*"}}),
        ("bin/run.sh", '[ -f x ] && . "${ROOT}/lib/log.sh"', {"lib/log.sh": {"log.sh", "*"}}),
        ("tools/a.ps1", '. "$PSScriptRoot/b.ps1"', {"tools/b.ps1": {"b.ps1", "*"}}),
        ("src/A.jl", 'include("b.jl")', {"src/b.jl": {"b.jl", "*"}}),
        ("R/a.R", 'source("R/b.R")', {"R/b.R": {"b.R", "*"}}),
        ("contracts/A.sol", 'import {B as C} from "./lib/B.sol";', {"contracts/lib/B.sol": {"B"}}),
        ("contracts/A.sol", 'import "./lib/B.sol";', {"contracts/lib/B.sol": {"B.sol", "*"}}),
        ("api/v1/a.proto", 'import public "api/b.proto";', {"api/b.proto": {"b.proto", "*"}}),
        ("styles/a.scss", '@use "base/colors" as c;', {"styles/base/_colors.scss": {"colors", "*"}}),
        ("styles/a.scss", '@import "base";', {"styles/base/_index.scss": {"base", "*"}}),
        ("src/a.erl", '-include("b.hrl").', {"include/b.hrl": {"b.hrl", "*"}}),
    ],
)
def test_imports_of_further_languages_lead_to_files(tmp_path, name, text, expected):
    project(
        tmp_path,
        "src/main/kotlin/org/x/Util.kt src/main/java/org/x/Old.java src/main/scala/org/x/Box.scala"
        " src/main/scala/org/x/Tool.scala lib/a.rb lib/sub/b.rb lua/me/options.lua lua/me/init.lua lib/b.dart"
        " lib/src/a.dart src/Data/Tree.hs src/util/a.zig lib/log.sh tools/b.ps1 src/b.jl R/b.R include/b.hrl"
        " contracts/lib/B.sol api/b.proto styles/base/_colors.scss styles/base/_index.scss",
    )
    assert resolved(tmp_path, name, text + "\n") == expected


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("use App\\Models\\User;", {"app/Models/User.php": {"User", "*"}}),
        (
            "use App\\Models\\{User, Post as P};",
            {"app/Models/User.php": {"User", "*"}, "app/Models/Post.php": {"Post", "*"}},
        ),
        ("use App\\Tests\\Case1 as C;", {"tests/Case1.php": {"Case1", "*"}}),
        ("use Vendor\\Thing; use function App\\helper;", {}),
    ],
)
def test_php_imports_lead_to_files(tmp_path, statement, expected):
    project(tmp_path, "app/Models/User.php app/Models/Post.php tests/Case1.php")
    (tmp_path / "composer.json").write_text(
        r"""{"name": "me/app", "autoload": {"psr-4": {"App\\": "app/", "App\\Tests\\": "tests"}}}"""
    )
    assert resolved(tmp_path, "app/Http/A.php", f"<?php\n{statement}\n") == expected


def test_a_folder_that_has_only_the_beginning_of_a_path_does_not_hide_the_file(tmp_path):
    project(tmp_path, "tests/lib/__init__.py src/lib/deep.py")
    assert resolved(tmp_path, "tests/a.py", "from lib.deep import f\n") == {"src/lib/deep.py": {"f"}}


def test_new_and_removed_files_are_noticed(tmp_path):
    project(tmp_path, "main.py pkg/a.py")
    text = "from pkg.b import f\nfrom new import g\n"
    assert resolved(tmp_path, "main.py", text) == {}
    project(tmp_path, "pkg/b.py new/__init__.py")
    assert resolved(tmp_path, "main.py", text) == {"pkg/b.py": {"f"}, "new/__init__.py": {"g"}}
    (tmp_path / "pkg/b.py").unlink()
    assert resolved(tmp_path, "main.py", text) == {"new/__init__.py": {"g"}}


def test_a_cached_answer_checks_folders_only(tmp_path, monkeypatch):
    project(tmp_path, "main.py pkg/a.py")
    text = "from pkg.a import f\n"
    first = resolved(tmp_path, "main.py", text)
    monkeypatch.setattr(resolve, "_resolved", lambda *_: pytest.fail("resolved again"))
    assert resolved(tmp_path, "main.py", text) == first


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "from " + "." * 5000 + "x import y\n"),
        ("a.py", "import " + "x." * 5000 + "y\n"),
        ("a.py", "from x import " + ", ".join(f"n{i}" for i in range(5000)) + "\n"),
        ("a.py", "import \0\nfrom a\0b import c\n"),
        ("a.py", "from \ud800 import \udfff\n"),
        ("a.rs", "use " + "a::{" * 5000 + "}" * 5000 + ";\n"),
        ("a.js", "import {" * 2000 + "\nimport import 'x' from './\0'\n"),
        ("a.go", 'package a\nimport "' + "x/" * 5000 + '"\n'),
        ("a.c", '#include "' + "x" * 5000 + '"\n'),
    ],
    ids=range(9),
)
def test_odd_statements_lead_to_no_file(tmp_path, name, text):
    (tmp_path / "go.mod").write_bytes(b"\xff\0module a")
    assert resolved(tmp_path, name, text) == {}


def test_a_language_without_rules_or_grammar_imports_nothing(tmp_path):
    project(tmp_path, "b.css b.txt")
    assert resolved(tmp_path, "a.css", "@import 'b.css';\n") == {}
    assert resolved(tmp_path, "a.txt", "import b\n") == {}


def test_a_link_loop_ends(tmp_path):
    (tmp_path / "x").symlink_to(".")
    assert resolved(tmp_path, "a.py", "import " + ".".join("x" * 40) + "\n") == {}


def test_all_rules_are_for_languages_of_the_table_whose_imports_are_found():
    tables = tomllib.loads((grammars_folder() / "imports.toml").read_text())
    named = [language for table in tables.values() for language in table["languages"]]
    assert len(named) == len(set(named))
    by_id = {language.id: language for language in all_languages()}
    assert set(named) <= by_id.keys()
    assert all((query := load_query(by_id[each], "imports")) and query.pattern_count for each in named)
