r"""Golden cases of indentation: a language id, a document, the model's text, and the shown text.

`█` is the cursor. The shown text has the document's own indentation.
"""

from __future__ import annotations

TABS = "class A:\n\tdef g(self):\n\t\treturn 1\n\n\tdef f(self):"
THREE = "class A:\n   def g(self):\n      return 1\n\n   def f(self):"
TWO = "class A:\n  def g(self):\n    return 1\n\n  def f(self):"
EIGHT = "class A:\n        def g(self):\n                return 1\n\n        def f(self):"
BRACES = "function g() {\n\treturn 1;\n}\nfunction f() {█\n}\n"

INDENTED = (
    ("python", f"{TABS}█\n", "\n        return 1", "\n\t\treturn 1"),
    ("python", f"{TABS}\n\t\t█\n", "if a:\n            b()\n        c()", "if a:\n\t\t\tb()\n\t\tc()"),
    (
        "python",
        f"{TABS}\n\t\t█\n",
        "x = g(\n            1,\n        )\n        y()",
        "x = g(\n\t\t\t1,\n\t\t)\n\t\ty()",
    ),
    ("python", f"{TABS}\n\t\t█\n", "x = '''\n  a\n'''\n        y()", "x = '''\n  a\n'''\n\t\ty()"),
    ("python", "def g():\n\treturn 1\n\nclass A:\n█\n", "    def f(self):\n        pass", "\tdef f(self):\n\t\tpass"),
    ("python", f"{THREE}█\n", "\n        return 1", "\n      return 1"),
    ("python", f"{THREE}\n      █\n", "if a:\n          b()\n      c()", "if a:\n         b()\n      c()"),
    (
        "python",
        f"{THREE}\n      █\n",
        "for a in b:\n          if a:\n              c()\n          d()\n      e()",
        "for a in b:\n         if a:\n            c()\n         d()\n      e()",
    ),
    ("python", f"{TWO}█\n", "\n        return 1", "\n    return 1"),
    ("python", f"{TWO}\n    █\n", "if a:\n        b()\n    c()", "if a:\n      b()\n    c()"),
    ("python", f"{EIGHT}█\n", "\n            return 1", "\n                return 1"),
    (
        "python",
        "def g():\n        return 1\ndef f():█\n",
        "\n    if a:\n        return 1\n    return 2",
        "\n        if a:\n                return 1\n        return 2",
    ),
    (
        "javascript",
        BRACES,
        "\n  if (a) {\n    b();\n  }\n  c();",
        "\n\tif (a) {\n\t\tb();\n\t}\n\tc();",
    ),
    ("javascript", BRACES, "\n  /**\n   * a\n   */\n  c();", "\n\t/**\n\t * a\n\t */\n\tc();"),
    ("javascript", BRACES, "\n  a(\n    b,\n  );\n  c();", "\n\ta(\n\t\tb,\n\t);\n\tc();"),
    (
        "javascript",
        "class A {\n    f() {\n        return 1;\n    }\n    g() {█\n}\n",
        "\n      const a = b\n        .c()\n        .d();\n      return a;\n    }",
        "\n        const a = b\n            .c()\n            .d();\n        return a;\n    }",
    ),
    (
        "go",
        "package a\n\nfunc g() {\n\treturn\n}\n\nfunc f() {█\n}\n",
        "\n    if a {\n        b()\n    }",
        "\n\tif a {\n\t\tb()\n\t}",
    ),
    (
        "c",
        "int g(void)\n{\n\treturn 1;\n}\n\nint f(void)\n{█\n}\n",
        "\n    a();\n    return 1;",
        "\n\ta();\n\treturn 1;",
    ),
    ("ruby", "def g\n\t1\nend\n\ndef f█\n", "\n  if a\n    1\n  end\nend", "\n\tif a\n\t\t1\n\tend\nend"),
    ("lua", "function g()\n\treturn 1\nend\n\nfunction f()█\n", "\n  return 2\nend", "\n\treturn 2\nend"),
    ("css", "a {\n\tcolor: red;\n}\n\nb {█\n}\n", "\n  margin: 0;\n  top: 0;", "\n\tmargin: 0;\n\ttop: 0;"),
    ("html", "<ul>\n\t<li>a</li>\n</ul>\n<ol>█\n", "\n  <li>b</li>\n</ol>", "\n\t<li>b</li>\n</ol>"),
    (
        "vue",
        "<script>\nfunction g() {\n\treturn 1\n}\nfunction f() {█\n</script>\n",
        "\n  return 2\n}",
        "\n\treturn 2\n}",
    ),
    (
        "java",
        "class A {\n  int f() {\n    return 1;\n  }\n  int g() {█\n}\n",
        "\n        return 2;\n    }",
        "\n    return 2;\n  }",
    ),
    ("rust", "fn g() {\n  a();\n}\n\nfn f() {█\n}\n", "\n    if a {\n        b();\n    }", "\n  if a {\n    b();\n  }"),
    ("kotlin", "fun g() {\n\ta()\n}\n\nfun f() {█\n}\n", "\n    b()\n    c()", "\n\tb()\n\tc()"),
    ("python", f"{THREE}\n      █\n", "  b()\n        c()", "b()\n      c()"),
    ("python", f"{TABS}\n\t\t█\n", "    b()\n        c()", "b()\n\t\tc()"),
    ("yaml", "a:\n    b: 1\nc:█\n", "\n  d: 1\n  e: 2", "\n    d: 1\n    e: 2"),
    # Text that has the file's indentation, is aligned, or is in a string stays unchanged.
    ("python", f"{TABS}\n\t\t█\n", "if a:\n\t\t\tb()\n\t\tc()", "if a:\n\t\t\tb()\n\t\tc()"),
    ("python", f"{TWO}\n    █\n", "return g(a,\n             b)", "return g(a,\n             b)"),
    ("python", "if a:\n    b = 1\nelse:\n    █\n", "c = (\n        d\n    )", "c = (\n        d\n    )"),
    ("python", "def f(\n        a):\n    g()\n    █\n", "x = g(\n            1)", "x = g(\n            1)"),
    ("python", "x = 1\n█\n", "if a:\n  b()", "if a:\n  b()"),
    ("javascript", BRACES, "\n\tconst a = `\n  b\n`;", "\n\tconst a = `\n  b\n`;"),
    ("markdown", "- a\n    - b\n█\n", "- c\n  - d", "- c\n  - d"),
)
