"""Each language's queries: every file compiles, uses the fixed capture names, and finds what it should in a sample.

A sample shows the cursor as █. To add a language, add a row here: see grammars/README.md.
"""

from __future__ import annotations

import re

import pytest
import tree_sitter
from attrs import frozen

from starcoder_lsp.documents.languages import (
    Language,
    QueryName,
    all_languages,
    grammars_folder,
    language_for,
    load_grammar,
    load_query,
    query_source,
)
from starcoder_lsp.documents.syntax import Syntax
from starcoder_lsp.documents.text import Text

QUERIES: tuple[QueryName, ...] = ("scopes", "imports", "definitions")
SCOPE_KINDS = {"function", "class", "module"}
CAPTURES = {
    "scopes": {f"scope.{part}" for part in {"name", "body"} | SCOPE_KINDS},
    "imports": {"import"},
    "definitions": {f"definition.{part}" for part in {"name", "body", "type", "constant"} | SCOPE_KINDS},
}
PREDICATES = {"#set!", "#one-of?"}  # the binding's own ones crash: see documents/parsing.py
WITH_QUERIES = [language for language in all_languages() if language.queries]


@frozen
class Sample:
    """A source with its cursor, and what is expected: scopes and definitions as "kind name", imports as text."""

    source: str
    scopes: list[str]
    imports: list[str]
    definitions: list[str]


SAMPLES = {
    "python": Sample(
        """\
import os
from a import (
    b,
)
if TYPE_CHECKING:
    from c import d
LIMIT = 1
@decorated
class A:
    size: int = 2
    @property
    async def f(self):
        import local
        return █1
def g(): pass
""",
        ["class A", "function f"],
        ["import os", "from a import (\n    b,\n)", "from c import d"],
        ["constant LIMIT", "class A", "constant size", "function f", "function g"],
    ),
    "javascript": Sample(
        """\
import a from "b";
const fs = require("fs");
export { x } from "y";
const LIMIT = 1;
export class A extends B {
  m(a) { const inner = () => { █ }; }
}
export const g = async (a) => { };
exports.h = function () { };
function* k() { }
""",
        ["class A", "function m", "function inner"],
        ['import a from "b";', 'const fs = require("fs");', 'export { x } from "y";'],
        ["constant fs", "constant LIMIT", "class A", "function m", "function g", "function exports.h", "function k"],
    ),
    "typescript": Sample(
        """\
import type { A } from "b";
export type T = string;
export interface I { a: string; m(): void }
enum E { One }
function over(a: string): void;
@Component({})
export class C<T> {
  constructor(private x: number) { }
  @Input() f(a: T): T { return █a; }
}
abstract class D { abstract q(): void; }
namespace N { export function r() { } }
const s = <T,>(a: T) => a;
""",
        ["class C", "function f"],
        ['import type { A } from "b";'],
        [
            "type T", "class I", "function m", "class E", "function over", "class C", "function constructor",
            "function f", "class D", "function q", "module N", "function r", "function s",
        ],
    ),
    "java": Sample(
        """\
package a;
import a.b;
import static c.d.*;
@Entity public class A {
  static final int X = 1;
  @Inject A(int x) { }
  @Override public int f(int a) { return █1; }
}
interface I { void q(); }
enum E { ONE }
record R(int x) { R { } }
""",
        ["class A", "function f"],
        ["import a.b;", "import static c.d.*;"],
        [
            "class A", "constant X", "function A", "function f", "class I", "function q", "class E", "class R",
            "function R",
        ],
    ),
    "c": Sample(
        """\
#ifndef GUARD
#include <stdio.h>
#include "a.h"
#define LIMIT 1
typedef struct point { int x; } point_t;
int proto(int a);
static char *f(int a) { return █0; }
char **g(void) { }
#endif
""",
        ["function f"],
        ["#include <stdio.h>\n", '#include "a.h"\n'],
        ["constant LIMIT", "type point_t", "class point", "function proto", "function f"],
    ),
    "cpp": Sample(
        """\
#include <vector>
using namespace std;
using T = int;
namespace n {
template <class T>
class A : B {
 public:
  A(int x) : x(x) { }
  virtual void q() = 0;
  int f(int a) { return █1; }
};
}
int& A::g() { }
enum class E { One };
""",
        ["module n", "class A", "function f"],
        ["#include <vector>\n", "using namespace std;"],
        [
            "type T", "module n", "class A", "function A", "function q", "function f", "function A::g", "class E",
        ],
    ),
    "csharp": Sample(
        """\
using System;
namespace A.B {
  [Serializable] public class C : D {
    public C(int x) { }
    public int P { get; set; }
    [Fact] public int F(int a) { return █1; }
    int G() => 1;
  }
  interface I { void Q(); }
  record R(int X);
}
""",
        ["module A.B", "class C", "function F"],
        ["using System;"],
        [
            "module A.B", "class C", "function C", "function P", "function F", "function G", "class I", "function Q",
            "class R",
        ],
    ),
    "go": Sample(
        """\
package a
import "fmt"
import (
\t"os"
)
const Limit = 1
type S struct { x int }
type I interface { Q() }
type T int
func (s *S) F(a int) int { return █1 }
func g() {}
""",
        ["function F"],
        ['import "fmt"', 'import (\n\t"os"\n)'],
        ["constant Limit", "class S", "class I", "type T", "function F", "function g"],
    ),
    "rust": Sample(
        """\
use a::b;
mod n;
const LIMIT: u8 = 1;
#[derive(Debug)]
struct S { x: u8 }
struct Unit;
trait T { fn q(); }
impl<X> T for S {
    #[inline]
    fn f(&self) -> u8 { █1 }
}
mod m { fn g() {} }
macro_rules! mm { () => {} }
""",
        ["class S", "function f"],
        ["use a::b;", "mod n;"],
        [
            "constant LIMIT", "class S", "class Unit", "class T", "function q", "class S", "function f", "module m",
            "function g", "function mm",
        ],
    ),
    "ruby": Sample(
        """\
require "a"
require_relative "b"
puts "c"
module M
  class A < B
    X = 1
    def f(a)
      █1
    end
    def self.g; end
  end
end
""",
        ["module M", "class A", "function f"],
        ['require "a"', 'require_relative "b"'],
        ["module M", "class A", "constant X", "function f", "function g"],
    ),
    "php": Sample(
        """\
<?php
namespace App;
use A\\B;
require "x.php";
#[Attribute]
class A extends B {
  const X = 1;
  public function f(int $a): int { return █1; }
}
interface I { function q(); }
function g() { }
""",
        ["class A", "function f"],
        ["use A\\B;", 'require "x.php";'],
        ["class A", "constant X", "function f", "class I", "function q", "function g"],
    ),
    "lua": Sample(
        """\
local x = require("y")
local M = {}
local function f(a) return █1 end
function M.g(a) end
M.k = function(a) return 3 end
return M
""",
        ["function f"],
        ['local x = require("y")'],
        ["constant x", "constant M", "function f", "function M.g", "function M.k"],
    ),
    "bash": Sample(
        """\
source ./a.sh
. b.sh
echo c
X=1
export Y=2
f() { echo █1; }
function g { echo 2; }
""",
        ["function f"],
        ["source ./a.sh", ". b.sh"],
        ["constant X", "constant Y", "function f", "function g"],
    ),
    "kotlin": Sample(
        """\
package a
import a.b
const val X = 1
typealias T = Int
@Foo class A(val x: Int) : B() {
  @Bar fun f(a: Int): Int { return █1 }
  companion object { fun h() { } }
}
object O { }
data class D(val x: Int)
fun String.g() = 1
""",
        ["class A", "function f"],
        ["import a.b"],
        ["constant X", "type T", "class A", "function f", "function h", "class O", "class D", "function g"],
    ),
    "swift": Sample(
        """\
import Foundation
let limit = 1
typealias T = Int
@objc class A: B {
  init(x: Int) { }
  @objc func f(a: Int) -> Int { return █1 }
}
protocol P { func q() }
extension A { func h() { } }
""",
        ["class A", "function f"],
        ["import Foundation"],
        [
            "constant limit", "type T", "class A", "function init", "function f", "class P", "function q", "class A",
            "function h",
        ],
    ),
    "scala": Sample(
        """\
package a
import a.b
class A(x: Int) extends B {
  def f(a: Int): Int = { █1 }
}
object O { val y = 1 }
trait T { def q(): Int }
case class D(x: Int)
type X = Int
""",
        ["class A", "function f"],
        ["import a.b"],
        ["class A", "function f", "class O", "constant y", "class T", "function q", "class D", "type X"],
    ),
    "zig": Sample(
        """\
const std = @import("std");
const limit = 1;
pub const S = struct {
    x: u8,
    pub fn f(a: u8) u8 { return █1; }
};
test "x" { }
""",
        ["class S", "function f"],
        ['const std = @import("std");'],
        ["constant std", "constant limit", "class S", "function f", 'function "x"'],
    ),
}  # fmt: skip


def syntax_of(source: str, language: Language) -> tuple[Syntax, Text, int]:
    before, _, after = source.partition("█")
    text = Text.from_str(before + after)
    return Syntax.parse_fresh(language, text), text, len(before.encode())


@pytest.mark.parametrize("language", WITH_QUERIES, ids=lambda language: language.id)
def test_a_sample_holds_the_scopes_imports_and_definitions_that_a_reader_sees(language: Language) -> None:
    sample = SAMPLES[language.queries or ""]
    syntax, text, cursor_byte = syntax_of(sample.source, language)
    assert syntax.error_count() == 0
    assert [f"{scope.kind} {scope.name}" for scope in syntax.enclosing_scopes(cursor_byte)] == sample.scopes
    assert [text.data[start:end].decode() for start, end in syntax.imports()] == sample.imports
    assert [f"{scope.kind} {scope.name}" for scope in syntax.definitions()] == sample.definitions


@pytest.mark.parametrize("language", WITH_QUERIES, ids=lambda language: language.id)
@pytest.mark.parametrize("name", QUERIES)
def test_a_query_compiles_and_names_only_what_is_read(language: Language, name: QueryName) -> None:
    source = query_source(language.queries or "", name)
    grammar = load_grammar(language)
    assert grammar is not None
    query = tree_sitter.Query(grammar, source)
    assert load_query(language, name) is not None
    captures = {query.capture_name(index) for index in range(query.capture_count)}
    assert {capture for capture in captures if not capture.startswith("_")} <= CAPTURES[name]
    assert set(re.findall(r"#[\w-]+[?!]", source)) <= PREDICATES
    for index in range(query.pattern_count):
        assert query.pattern_settings(index).keys() <= {"lead"}


def test_every_folder_has_the_three_files_and_a_sample_and_a_language() -> None:
    folders = {path.name for path in grammars_folder().iterdir() if path.is_dir()}
    assert folders == SAMPLES.keys() == {language.queries for language in WITH_QUERIES}
    for folder in folders:
        assert {path.name for path in (grammars_folder() / folder).iterdir()} == {f"{name}.scm" for name in QUERIES}


@pytest.mark.parametrize(
    ("language_id", "source", "start", "header"),
    [
        ("python", "@a\n@b\ndef f(\n    x,\n):\n    █pass\n", "@a", "):"),
        ("python", "def f():  # why\n    # not\n    █pass\n", "def", "why"),
        ("python", "def f(): return █1\n", "def", "1"),
        ("rust", "#[a]\n// b\n#[c]\nfn f(\n  x: u8,\n) {\n  █1\n}\n", "#[a]", ") {"),
        ("typescript", "@a()\nexport class A\n  extends B {\n  █x = 1;\n}\n", "@a()", "B {"),
        ("javascript", "export default function f() {\n  █\n}\n", "export", "f() {"),
        ("cpp", "template <class T>\nT f(T a)\n{\n  █\n}\n", "template", "{"),
        ("java", "class A { @B int f() { █ } int x; }\n", "@B", "}"),
        ("ruby", "def f(\n  a\n)\n  █1\nend\n", "def", ")"),
        ("ruby", "def f(a)\n  █\nend\n", "def", ")"),
        ("lua", "local f = function(\n  a)\n  █\nend\n", "local", "a)"),
    ],
)
def test_a_scope_starts_at_its_decorators_and_its_header_ends_with_a_line(
    language_id: str, source: str, start: str, header: str
) -> None:
    """The expected header is given by how it starts and how it ends."""
    syntax, text, cursor_byte = syntax_of(source, language_for(language_id, ""))
    scope = syntax.enclosing_scopes(cursor_byte)[-1]
    shown = text.data[scope.start_byte : scope.header_end_byte].decode()
    assert shown.startswith(start)
    assert shown.endswith(header)
    assert scope.start_byte < scope.body_start_byte <= scope.end_byte
