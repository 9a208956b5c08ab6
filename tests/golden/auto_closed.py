"""Golden cases at auto-closed places: template literals, attributes, generics, long strings, tags.

`cases.py` says how to read one.
"""

from __future__ import annotations

from tests.golden.group import Group

AUTO = (
    Group(
        "within_scope",
        acts=True,
        shows="A bracket that an editor has closed ends the suggestion.",
        cases=(
            ("javascript", "const s = `a ${█}`;\n", "name│}`;"),
            ("typescript", "const s = `${a} ${█} c`;\n", "f(b)│} c`;"),
            ("python", 'x = f"{█}"\n', 'a.b│}"'),
            ("html", "<div>\n  █\n</div>\n", "<p>a</p>\n  <p>b</p>│\n</div>\n"),
            ("php", '<?php\n$a = "{█}";\n', '$b│}";'),
            ("ruby", 'a = "#{█}"\n', 'b.c│}"'),
            ("kotlin", 'val a = "${█}"\n', 'b.c│}"'),
            ("shellscript", 'a="${█}"\n', 'b:-c│}"'),
            ("shellscript", 'a="$(█)"\n', 'date│)"'),
            ("csharp", 'var a = $"{█}";\n', 'b.C│}";'),
            ("swift", 'let a = "\\(█)"\n', 'b.c│)"'),
            ("scala", 'val a = s"${█}"\n', 'b.c│}"'),
            ("elixir", 'a = "#{█}"\n', 'b.c│}"'),
        ),
    ),
    Group(
        "fitting_syntax",
        acts=False,
        shows="In a template's hole, an attribute, a generic or a long string all of it is shown.",
        cases=(
            ("javascript", "const s = `a ${█}`;\n", "name│"),
            ("rust", "fn f() {\n    let v: Vec<█> = a;\n}\n", "Option<u8>│"),
        ),
    ),
    Group(
        "without_repeated_tail",
        acts=True,
        shows="Quotes, brackets and tags that an editor has closed are not written twice.",
        cases=(
            ("javascript", "const s = `█`;\n", "a ${name}│`;"),
            ("typescript", "const m = new Map<█>();\n", "string, number│>();"),
            ("typescript", "const m = new Map<█>();\n", "string, Array<number>│>();"),
            ("typescript", "const m: Map<█> = a;\n", "string, number│>"),
            ("rust", "fn f() {\n    let v: Vec<█> = a;\n}\n", "u8│> = a;"),
            ("java", "class A {\n    List<█> a;\n}\n", "Map<String, Integer>│> a;"),
            ("cpp", "std::vector<█> v;\n", "std::pair<int, int>│> v;"),
            ("csharp", "List<█> a;\n", "string│> a"),
            ("kotlin", "val a: List<█> = b\n", "Int│> = b"),
            ("python", 'x = """█"""\n', 'a text│"""'),
            ("python", 'def f():\n    """█"""\n', 'Return it.│"""'),
            ("html", '<a href="█">a</a>\n', '#top│">'),
            ("html", "<a href=█>a</a>\n", '"#top"│>a</a>'),
            ("html", "<div>█</div>\n", "a│</div>"),
            ("html", "<div>\n  <p>█</p>\n</div>\n", "a <b>c</b>│</p>\n</div>"),
            ("html", "<div█></div>\n", ' class="a"│></div>'),
            ("typescriptreact", "const a = <div>█</div>;\n", "{name}│</div>;"),
            ("typescriptreact", 'const a = <div className="█" />;\n', 'a b│" />;'),
            ("typescriptreact", "const a = <div onClick={█} />;\n", "() => f(1)│} />;"),
            ("javascriptreact", "function A() {\n  return <ul>█</ul>;\n}\n", "<li>a</li>│</ul>;\n}"),
            ("vue", '<template>\n  <p :class="█">a</p>\n</template>\n', '{ a: b }│">a</p>'),
            ("vue", "<template>\n  <p>{{ █ }}</p>\n</template>\n", "a.b│ }}</p>"),
            ("vue", "<template>\n  <p>█</p>\n</template>\n", "{{ a.b }}│</p>"),
            ("svelte", "<p>{█}</p>\n", "name│}</p>"),
            ("svelte", "<button on:click={█}>a</button>\n", "() => f(1)│}>a</button>"),
            ("go", "package a\n\nvar x = `█`\n", 'a "b"│`'),
            ("xml", "<a><b>█</b></a>\n", "c│</b></a>"),
            ("markdown", "[a](█)\n", "https://b.example│)"),
            ("latex", "\\textbf{█}\n", "a│}"),
        ),
    ),
    Group(
        "without_repeated_tail",
        acts=True,
        shows="A block that is closed on a line of its own takes the closing sign along that an editor has put there.",
        cases=(
            ("html", "<ul>█⟦</ul>⟧\n", "\n  <li>a</li>\n</ul>│\n<p>"),
            ("html", "<div>\n  <ul>█⟦</ul>⟧\n</div>\n", "\n    <li>a</li>\n    <li>b</li>\n  </ul>│\n</div>"),
            (
                "javascriptreact",
                "function A() {\n  return (\n    <ul>█⟦</ul>⟧\n  );\n}\n",
                "\n      <li>a</li>\n    </ul>│\n  );",
            ),
            (
                "typescriptreact",
                "function A() {\n  return (\n    <List items={a}>█⟦</List>⟧\n  );\n}\n",
                "\n      {a.map((b) => <Item key={b} />)}\n    </List>│\n  );\n}",
            ),
            ("vue", "<template>\n  <ul>█⟦</ul>⟧\n</template>\n", "\n    <li>a</li>\n  </ul>│\n</template>"),
            ("svelte", "<ul>█⟦</ul>⟧\n", "\n  <li>{a}</li>\n</ul>│\n<p>"),
            ("javascript", "function f() {█⟦}⟧\n", "\n  return 1;\n}│\nf();"),
            ("javascript", "const a = {█⟦};⟧\n", "\n  b: 1,\n};│\n"),
            ("go", "package a\n\nfunc f() int {█⟦}⟧\n", "\n\treturn 1\n}│\n"),
        ),
    ),
    Group(
        "fitting_syntax",
        acts=True,
        shows="What an editor closed behind the cursor is not opened again.",
        cases=(
            ("html", '<a href="█">a</a>\n', '#top" class="b│">a'),
            ("dart", "var a = '${█}';\n", "b.c│}';"),
        ),
    ),
    Group(
        "before_repeat",
        acts=True,
        shows="What stands below is not written again.",
        cases=(
            (
                "javascriptreact",
                "function A() {\n  return (\n    <ul>\n      █\n    </ul>\n  );\n}\n",
                "{xs.map((x) => (\n        <li key={x}>{x}</li>\n      ))}│\n    </ul>",
            ),
        ),
    ),
    Group(
        "within_scope",
        acts=True,
        shows="What is closed on its line stays on it.",
        cases=(("javascriptreact", "function A() {\n  return <ul>█\n}\n", "<li>a</li></ul>;│\n}"),),
    ),
)
