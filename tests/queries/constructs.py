"""Constructs of each language beyond its sample: the scopes around a cursor, the definitions and the imports.

A row is a language id, a source, and what is expected. The cursor is shown as █.
"""

from __future__ import annotations

SCOPES = [
    # functions named by what they are assigned to
    ("javascript", "var f = function () { █ };", ["function var f"]),
    ("javascript", "const f = memo((a) => { █ });", ["function const f"]),
    ("javascript", "export const F = React.forwardRef(function G(a) { █ });", ["function export const F"]),
    ("typescript", "export const useIt = create<S>()((set) => ({ a: █1 }));", ["function export const useIt"]),
    ("javascript", "const o = { f: (a) => { █ } };", ["function f:"]),
    ("javascript", "const o = { f: a => { █ } };", ["function f:"]),
    ("javascript", "exports.f = a => { █ };", ["function exports.f"]),
    ("javascript", "class A { f = () => { █ }; }", ["class class A", "function f ="]),
    (
        "typescript",
        "class A { private f = async (a: T): Promise<void> => { █ }; }",
        ["class class A", "function private f"],
    ),
    ("typescript", "class A { f = a => { █ }; }", ["class class A", "function f ="]),
    (
        "go",
        "package a\nfunc f() {\n\tg := func(a int) int {\n\t\treturn █a\n\t}\n}\n",
        ["function func f", "function g :="],
    ),
    ("go", "package a\nvar f = func() {\n\t█\n}\n", ["function var f"]),
    ("rust", "fn f() { let g = |a: u8| { █a }; }", ["function fn f", "function let g"]),
    (
        "csharp",
        "class A { void F() { Func<int> g = (x) => { █ }; } }",
        ["class class A", "function void F", "function Func<"],
    ),
    ("php", "<?php\n$f = function (int $a): int { return █1; };", ["function $f"]),
    ("ruby", "f = ->(x) do\n  █x\nend\n", ["function f ="]),
    ("lua", "local t = { f = function(a)\n  return █a\nend }\n", ["function f ="]),
    ("lua", 'local t = { ["f"] = function(a)\n  return █a\nend }\n', ['function ["f"]']),
    ("scala", "def f = { val g = (x: Int) => { █x } }", ["function def f", "function val g"]),
    # classes without a name of their own
    ("javascript", "export default class extends B { m() { █ } }", ["class export default class", "function m"]),
    ("javascript", "const A = class B { m() { █ } };", ["class class B", "function m"]),
    (
        "java",
        "class A { Object o = new B<T>() { void m() { █ } }; }",
        ["class class A", "class new B", "function void m"],
    ),
    ("java", "enum E { ONE { void m() { █ } } }", ["class enum E", "class ONE", "function void m"]),
    ("kotlin", "val a = object : B {\n  fun m() { █ }\n}\n", ["class object", "function fun m"]),
    (
        "kotlin",
        "enum class E {\n  ONE {\n    fun m() { █ }\n  }\n}\n",
        ["class enum class E", "class ONE", "function fun m"],
    ),
    ("php", "<?php\n$a = new class(1) extends B { function m() { █ } };", ["class class(1)", "function function m"]),
    ("ruby", "P = Struct.new(:x) do\n  def m\n    █x\n  end\nend\n", ["class P =", "function def m"]),
    # members that are no methods
    ("java", "class A { static { █ } }", ["class class A", "function static {"]),
    ("csharp", "class A { public int this[int i] { get { █ } } }", ["class class A", "function public int this"]),
    ("csharp", "class A { ~A() { █ } }", ["class class A", "function ~A"]),
    (
        "csharp",
        "class A { public static A operator +(A a) { █ } }",
        ["class class A", "function public static A operator +"],
    ),
    (
        "csharp",
        "class A { public static implicit operator int(A b) { █ } }",
        ["class class A", "function public static im"],
    ),
    ("csharp", "class A { event B C { add { █ } remove { } } }", ["class class A", "function event B C"]),
    ("cpp", "class A { explicit operator bool() const { █ } };", ["class class A", "function explicit"]),
    ("cpp", "A::operator int() const { █ }", ["function A::operator int"]),
    ("cpp", "class A { friend int f(A a) { █ } };", ["class class A", "function friend int f"]),
    ("cpp", "template <class T>\nT* A<T>::f() { █ }", ["function template <class T>"]),
    ("c", "char **f(void) { █ }", ["function char **f"]),
    ("kotlin", "class A {\n  init {\n    █x()\n  }\n}\n", ["class class A", "function init {"]),
    (
        "kotlin",
        "class A {\n  var a = 1\n  var b = 1\n    get() {\n      █x()\n    }\n}\n",
        ["class class A", "function get()"],
    ),
    (
        "kotlin",
        "class A {\n  constructor(s: String) : this() {\n    █\n  }\n}\n",
        ["class class A", "function constructor"],
    ),
    ("php", "<?php\nclass A { public int $a { get { █ } } }", ["class class A", "function get {"]),
    ("swift", "struct A {\n  var body: some V {\n    █T()\n  }\n}\n", ["class struct A", "function var body"]),
    (
        "swift",
        "class A {\n  var a = 1 {\n    didSet {\n      █p()\n    }\n  }\n}\n",
        ["class class A", "function var a"],
    ),
    ("swift", "class A {\n  deinit {\n    █p()\n  }\n}\n", ["class class A", "function deinit"]),
    (
        "swift",
        "class A {\n  subscript(i: Int) -> T {\n    get { █x }\n  }\n}\n",
        ["class class A", "function subscript"],
    ),
    ("scala", "given a: B with\n  def f = █1\n", ["class given a", "function def f"]),
    ("scala", "extension (s: String)\n  def up = █s\n", ["class extension", "function def up"]),
    ("scala", "package object a { def f = █1 }", ["class package object a", "function def f"]),
    # types in a group
    ("go", "package a\ntype (\n\tP struct {\n\t\tx█ int\n\t}\n)\n", ["class P struct"]),
    ("typescript", "declare class A { m(): █void; }", ["class declare class A"]),
    # tests
    ("javascript", 'describe("a", () => { it("b", async () => { █ }); });', ['class describe("a"', 'function it("b"']),
    ("javascript", "test.only(`a ${b}`, function () { █ });", ["function test.only"]),
    ("typescript", 'it.each([1])("a %i", (n) => { █ });', ["function it.each"]),
    ("php", "<?php\ndescribe('a', function () { it('b', function () { █ }); });", ["class describe", "function it"]),
    ("ruby", 'RSpec.describe A do\n  it "b" do\n    █x\n  end\nend\n', ["class RSpec.describe A", 'function it "b"']),
    ("ruby", "namespace :a do\n  task b: :c do\n    █x\n  end\nend\n", ["class namespace :a", "function task b"]),
    (
        "lua",
        'describe("a", function()\n  it("b", function()\n    █x()\n  end)\nend)\n',
        ['class describe("a"', 'function it("b"'],
    ),
]

DEFINITIONS = [
    ("python", "A, B = 1, 2\n", ["constant A", "constant B"]),
    ("javascript", "var a = 1;\nvar f = function () { };\n", ["constant a", "function f"]),
    (
        "javascript",
        "class A { a = 1; static #b = 2; f = () => 1; }",
        ["class A", "constant a", "constant #b", "function f"],
    ),
    ("javascript", "const f = xs.map((x) => { return x; });", ["constant f"]),
    ("typescript", "class A { private a: string; b = 1; }", ["class A", "constant a", "constant b"]),
    ("typescript", "interface A { readonly a: string; f?: () => void; }", ["class A", "constant a", "constant f"]),
    ("typescript", 'enum A { One, Two = "2" }', ["class A", "constant One", "constant Two"]),
    ("typescript", "declare const A: string;\nexport declare const B: string;\n", ["constant A", "constant B"]),
    ("java", "enum E { ONE, TWO(2); private int a; }", ["class E", "constant ONE", "constant TWO", "constant a"]),
    ("java", '@interface A { String value() default ""; }', ["class A", "function value"]),
    ("c", "extern int a;\nstatic char *b[] = {1};\nconst int c = 1;\n", ["constant a", "constant *b[]", "constant c"]),
    ("c", "#ifndef G\nextern int a;\n#endif\n", ["constant a"]),
    ("c", "typedef int (*f)(int);\nenum e { ONE };\n", ["type (*f)(int)", "class e", "constant ONE"]),
    ("c", "struct s { int *a; char b[3]; int (*f)(void); };", ["class s", "constant a", "constant b", "function f"]),
    (
        "cpp",
        "class A { static A* f(); const T& g() const; T& r; };",
        ["class A", "function f", "function g", "constant r"],
    ),
    ("cpp", "template <class T> using V = T;\ntemplate <class T> void f(T a);\n", ["type V", "function f"]),
    (
        "cpp",
        (
            "#ifndef G\n#define G\nnamespace a { namespace b {\ntemplate <class T> class C {\n"
            " public:\n  template <class U> int f() { return 1; }\n};\n} }\n#endif\n"
        ),
        ["constant G", "module a", "module b", "class C", "function f"],
    ),
    ("cpp", "namespace a { constexpr int b = 1; }", ["module a", "constant b"]),
    ("go", "package a\nvar (\n\ta int\n\tb = 1\n)\n", ["constant a", "constant b"]),
    ("go", "package a\ntype (\n\tP struct{ x int }\n\tK = int\n)\n", ["class P", "constant x", "type K"]),
    (
        "go",
        "package a\ntype I interface {\n\tGet(a int) error\n}\nfunc f(a int)\n",
        ["class I", "function Get", "function f"],
    ),
    (
        "rust",
        "enum E { A { r: u8 }, B(u8), C = 3 }",
        ["class E", "constant A", "constant r", "constant B", "constant C"],
    ),
    ("rust", "trait T { type Item; }\nunion U { a: u8 }", ["class T", "type Item", "class U", "constant a"]),
    ("csharp", "enum E { One, Two = 2 }\nclass P(int x);\n", ["class E", "constant One", "constant Two", "class P"]),
    ("csharp", "class A { event B C; public static A operator +(A a) { } }", ["class A", "constant C", "function +"]),
    ("kotlin", "enum class E {\n  ONE,\n  TWO\n}\nobject A\n", ["class E", "constant ONE", "constant TWO", "class A"]),
    ("php", "<?php\nclass A { private static ?int $a = 0; }\n", ["class A", "constant a"]),
    ("php", "<?php\nenum S: string { case A = 'a'; case B = 'b'; }", ["class S", "constant A", "constant B"]),
    ("ruby", "class A\n  attr_reader :a, :b\n  other :c\nend\n", ["class A", "function :a", "function :b"]),
    ("swift", "enum E {\n  case a\n  case b(Int), c\n}\n", ["class E", "constant a", "constant b", "constant c"]),
    (
        "swift",
        "protocol P {\n  associatedtype I\n  var a: Int { get }\n  init(x: Int)\n}\n",
        ["class P", "type I", "constant a", "function init"],
    ),
    ("swift", "class A {\n  static func == (a: A, b: A) -> Bool { true }\n}\n", ["class A", "function =="]),
    ("scala", "trait T { val a: Int; var b: Int }\nvar c = 1\n", ["class T", "constant a", "constant b", "constant c"]),
    (
        "scala",
        "enum E:\n  case One\n  case Two(x: Int)\ncase object A\n",
        ["class E", "constant One", "constant Two", "class A"],
    ),
    ("shellscript", "A=1 B=2\n", ["constant A", "constant B"]),
]

IMPORTS = [
    (
        "python",
        "try:\n    import a\nexcept E:\n    import b\nelse:\n    import c\nfinally:\n    import d\n",
        ["import a", "import b", "import c", "import d"],
    ),
    (
        "python",
        "if A:\n    import a\nelif B:\n    import b\nelse:\n    import c\n",
        ["import a", "import b", "import c"],
    ),
    ("python", "with suppress(E):\n    import a\nfor x in y:\n    import b\n", ["import a"]),
    ("javascript", 'var a = require("a");', ['var a = require("a");']),
    ("javascript", 'const a = require("a").b;', ['const a = require("a").b;']),
    ("javascript", 'require("a");\nf("b");', ['require("a");']),
    ("javascript", 'const a = await import("a");', ['const a = await import("a");']),
    ("typescript", 'const A = lazy(() => import("a"));', ['const A = lazy(() => import("a"));']),
    ("cpp", "namespace fs = std::filesystem;", ["namespace fs = std::filesystem;"]),
    ("lua", 'local a = require("b").c\n', ['local a = require("b").c']),
    ("shellscript", "if [ -f a ]; then\n  source a\nfi\n[ -f b ] && . b\nf() { . c; }\n", ["source a", ". b"]),
]
