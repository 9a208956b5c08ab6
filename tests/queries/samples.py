"""A sample of each language, with the scopes, imports and definitions that its queries must find.

The cursor is shown as █. To add a language, add a row here: see grammars/README.md.
"""

from __future__ import annotations

from attrs import frozen


@frozen
class Sample:
    """A source with its cursor, and the expected results: scopes and definitions as "kind name", imports as text."""

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
        ["constant fs", "constant LIMIT", "class A", "function m", "function g", "function h", "function k"],
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
            "type T", "class I", "constant a", "function m", "class E", "constant One", "function over", "class C",
            "function constructor", "function f", "class D", "function q", "module N", "function r", "function s",
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
            "class A", "constant X", "function A", "function f", "class I", "function q", "class E", "constant ONE",
            "class R", "function R",
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
        ["constant LIMIT", "type point_t", "class point", "constant x", "function proto", "function f", "function g"],
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
            "constant One",
        ],
    ),
    "objc": Sample(
        """\
#import <Foundation/Foundation.h>
#import "B.h"
@import UIKit;
#define LIMIT 1
typedef struct point { int x; } point_t;
@protocol P <NSObject>
- (void)q;
@end
@interface A : B <P>
@property (nonatomic, strong) NSString *title;
- (instancetype)initWithName:(NSString *)name size:(int)size;
@end
@implementation A
- (instancetype)initWithName:(NSString *)name size:(int)size {
  return █self;
}
+ (A *)make { return nil; }
@end
int f(int a) { return 0; }
""",
        ["class A", "function initWithName"],
        ["#import <Foundation/Foundation.h>\n", '#import "B.h"\n', "@import UIKit;"],
        [
            "constant LIMIT", "type point_t", "class point", "constant x", "class P", "function q", "class A",
            "constant title", "function initWithName", "class A", "function initWithName", "function make",
            "function f",
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
        ["constant Limit", "class S", "constant x", "class I", "function Q", "type T", "function F", "function g"],
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
            "constant LIMIT", "class S", "constant x", "class Unit", "class T", "function q", "class S", "function f",
            "module m", "function g", "function mm",
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
  companion object {
    fun h() { }
  }
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
        ["constant std", "constant limit", "class S", "constant x", "function f", 'function "x"'],
    ),
    "powershell": Sample(
        """\
using namespace System.IO
Import-Module Pester
. ./helpers.ps1
$Limit = 3
enum Colour { Red; Green }
class Cat : Animal {
    [string]$Name
    Cat([string]$name) { $this.Name = $name }
    [string] Speak() { return █"x" }
}
function Get-Thing {
    [CmdletBinding()]
    param([string]$Path)
    Write-Output $Path
}
filter Even { }
""",
        ["class Cat", "function Speak"],
        ["using namespace System.IO", "Import-Module Pester", ". ./helpers.ps1"],
        [
            "constant $Limit", "class Colour", "class Cat", "constant $Name", "function Cat", "function Speak",
            "function Get-Thing", "function Even",
        ],
    ),
    "r": Sample(
        """\
library(dplyr)
source("helpers.R")
limit <- 10
area <- function(x, y = 2) {
  x * y
}
twice = function(x) 2 * x
Person <- R6Class("Person", public = list(
  name = NULL,
  greet = function() {
    cat(█self$name)
  }
))
setClass("Point", representation(x = "numeric"))
setMethod("show", "Point", function(object) { cat("p") })
""",
        ["class Person", "function greet"],
        ["library(dplyr)", 'source("helpers.R")'],
        [
            "constant limit", "function area", "function twice", "class Person", "function greet", "class Point",
            "function show",
        ],
    ),
    "julia": Sample(
        """\
module A
using LinearAlgebra
import Base: show, +
include("b.jl")
const LIMIT = 1
struct P{T} <: Q
    x::T
end
mutable struct M end
abstract type Q end
area(x) = x^2
double(x)::Int = 2x
function scale(x::P{T}, by=1)::Int where T
    return █x
end
function Base.show(io, p) end
macro twice(x)
    x
end
end
""",
        ["module A", "function scale"],
        ["using LinearAlgebra", "import Base: show, +", 'include("b.jl")'],
        [
            "module A", "constant LIMIT", "class P", "constant x", "class M", "type Q", "function area",
            "function double", "function scale", "function Base.show", "function twice",
        ],
    ),
    "haskell": Sample(
        """\
module A.B (area) where
import Data.List
import qualified Data.Map as M
data P a = P { x :: Int } | Q deriving Show
newtype N = N Int
type T = Int
class Shape a where
  area :: a -> Int
instance Shape P where
  area p = x p
f :: Int -> Int
f n | n > 1 = 2
    | otherwise = go n
  where
    go y = █y
main = do
  print 1
""",
        ["function f", "function go"],
        ["import Data.List", "import qualified Data.Map as M"],
        [
            "class P", "class N", "type T", "class Shape", "function area", "class Shape", "function area",
            "function f", "function main",
        ],
    ),
    "ocaml": Sample(
        """\
open Core
include A.B
let limit = 3
type t = { x : int }
exception Oops of string
external ext : int -> int = "c"
module M = struct
  let f x y =
    let go z = █z in
    go x
end
module type S = sig
  val q : int
end
let rec g = function 0 -> 1 | n -> h n
and h a = a
class c x = object
  method m y = y
end
let () = f 1 2
""",
        ["module M", "function f", "function go"],
        ["open Core", "include A.B"],
        [
            "constant limit", "type t", "type Oops", "function ext", "module M", "function f", "module S",
            "function q", "function g", "function h", "class c", "function m", "function ()",
        ],
    ),
    "elixir": Sample(
        """\
defmodule A.B do
  use GenServer
  alias A.C
  import D, only: [x: 1]
  @limit 3
  @type t :: integer
  @callback area(t) :: t
  @spec f(integer) :: integer
  def f(x) when x > 1 do
    █x
  end
  defp g(x), do: x
  def k do
    1
  end
  defmacro m(x) do
    x
  end
  test "adds up" do
    assert f(1) == 2
  end
end
""",
        ["module A.B", "function f"],
        ["use GenServer", "alias A.C", "import D, only: [x: 1]"],
        [
            "module A.B", "type t", "function area", "function f", "function g", "function k", "function m",
            "function adds up",
        ],
    ),
    "erlang": Sample(
        """\
-module(a).
-export([f/1]).
-include("x.hrl").
-import(lists, [map/2]).
-define(LIMIT, 3).
-define(TWICE(X), 2 * X).
-record(point, {x, y = 1}).
-type t() :: integer().
-spec f(integer()) -> integer().
f(0) -> 1;
f(X) when X > 1 ->
    █X.
""",
        ["function f"],
        ['-include("x.hrl").', "-import(lists, [map/2])."],
        ["constant LIMIT", "constant TWICE", "class point", "type t", "function f", "function f"],
    ),
    "dart": Sample(
        """\
import 'dart:io';
export 'x.dart';
part 'y.dart';
const limit = 1;
typedef F = int Function(int);
@immutable
class A<T> extends B {
  final int x;
  A(this.x);
  A.named(this.x) { }
  factory A.make() { return A(1); }
  @override
  int f(int a) { return █1; }
  int get g => 1;
}
abstract class Q { int q(); }
mixin M { void m() { } }
enum E { one, two }
extension X on A { int y() { return 1; } }
void main() => print(1);
""",
        ["class A", "function "],  # the name stands in the definitions
        ["import 'dart:io';", "export 'x.dart';", "part 'y.dart';"],
        [
            "constant limit", "type F", "class A", "constant x", "function A", "function named", "function make",
            "function f", "function g", "class Q", "function q", "class M", "function m", "class E", "constant one",
            "constant two", "class X", "function y", "function main",
        ],
    ),
    "sql": Sample(
        """\
CREATE TABLE IF NOT EXISTS app.users (id INT PRIMARY KEY, name TEXT);
CREATE VIEW adults AS SELECT * FROM users WHERE age > 17;
CREATE OR REPLACE FUNCTION f(a int) RETURNS int AS $$
BEGIN
  RETURN █a;
END;
$$ LANGUAGE plpgsql;
CREATE TYPE mood AS ENUM ('happy');
CREATE TRIGGER t BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION f();
SELECT 1;
""",
        ["function f"],
        [],
        ["class app.users", "class adults", "function f", "type mood", "function t"],
    ),
    "solidity": Sample(
        """\
pragma solidity ^0.8.0;
import "./A.sol";
import {B, C} from "../lib/B.sol";
uint constant LIMIT = 3;
error Oops(uint a);
struct P { uint x; }
enum E { One, Two }
interface I { function q() external returns (uint); }
abstract contract Token is ERC20 {
  uint256 public total;
  event Sent(address from);
  modifier onlyX() { _; }
  constructor(string memory name) ERC20(name) { total = 1; }
  function send(address to) public onlyX returns (bool) {
    return █true;
  }
  receive() external payable { }
}
function free(uint a) pure returns (uint) { return a; }
""",
        ["class Token", "function send"],
        ['import "./A.sol";', 'import {B, C} from "../lib/B.sol";'],
        [
            "constant LIMIT", "type Oops", "class P", "constant x", "class E", "constant One", "constant Two",
            "class I", "function q", "class Token", "constant total", "type Sent", "function onlyX",
            "function constructor", "function send", "function receive", "function free",
        ],
    ),
    "proto": Sample(
        """\
syntax = "proto3";
import "x/y.proto";
import public "z.proto";
message M {
  string name = 1;
  map<string, int32> counts = 4;
  message Inner { int32 x = 1; }
  oneof o { string a█ = 3; }
}
enum E { UNKNOWN = 0; }
service S {
  rpc Get(M) returns (M);
}
""",
        ["class M", "class o"],
        ['import "x/y.proto";', 'import public "z.proto";'],
        [
            "class M", "constant name", "constant counts", "class Inner", "constant x", "class o", "constant a",
            "class E", "constant UNKNOWN", "class S", "function Get",
        ],
    ),
    "scss": Sample(
        """\
@use "a";
@import "b";
$size: 1px;
@mixin bold($a) { color: $a; }
@function twice($a) { @return $a * 2; }
.card {
  &:hover { color: █red; }
  @include bold(1);
}
@media (max-width: 1px) { .a { b: c; } }
""",
        ["class .card", "class &:hover"],
        ['@use "a";', '@import "b";'],
        [
            "constant $size", "function bold", "function twice", "class .card", "class &:hover",
            "module (max-width: 1px)", "class .a",
        ],
    ),
    "html": Sample(
        """\
<!DOCTYPE html>
<html>
<head>
<link rel="stylesheet" href="a.css">
<script src="b.js"></script>
<style>a { b: c }</style>
</head>
<body>
<ul class="x"><li>one █two<br></li></ul>
<script>let a = 1;</script>
</body>
</html>
""",
        ["class html", "class body", "class ul", "class li"],
        ['<link rel="stylesheet" href="a.css">\n', '<script src="b.js"></script>'],
        [
            "class html", "class head", "class script", "class style", "class body", "class ul", "class li",
            "class script",
        ],
    ),
    "css": Sample(
        """\
@import url("a.css");
:root { --accent: red; }
.card > b, #c { color: blue; }
@media (max-width: 1px) {
  .card { padding: █0; }
}
@keyframes spin { from { top: 0; } to { top: 1px; } }
@font-face { src: none; }
""",
        ["module (max-width: 1px)", "class .card"],
        ['@import url("a.css");'],
        [
            "class :root", "constant --accent", "class .card > b, #c", "module (max-width: 1px)", "class .card",
            "class spin", "module @font-face",
        ],
    ),
    "hcl": Sample(
        """\
variable "region" { default = "x" }
locals {
  size = 1
}
resource "aws_instance" "web" {
  ami = var.region
  provisioner "local-exec" {
    command = █"a"
  }
}
module "vpc" {
  source = "./vpc"
}
name = 1
""",
        ["class web", "class local-exec"],
        [],
        [
            "class region", "class locals", "constant size", "class web", "class local-exec", "class vpc",
            "constant name",
        ],
    ),
    "ocaml_interface": Sample(
        """\
open A
val f : int -> int
type t = int
exception Oops
module M : sig
  val q :█ int
end
module type S = sig val r : int end
""",
        ["module M"],
        ["open A"],
        ["function f", "type t", "type Oops", "module M", "function q", "module S", "function r"],
    ),
}  # fmt: skip
