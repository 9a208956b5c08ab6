"""Show a file's syntax tree, a node a line with its place: `python build-support/show_tree.py GRAMMAR FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

import tree_sitter_language_pack


def main() -> None:
    """Print the tree, without recursion: files may be nested deeply."""
    grammar, path = sys.argv[1:]
    cursor = tree_sitter_language_pack.get_parser(grammar).parse(Path(path).read_bytes()).walk()
    depth = 0
    while True:
        node, name = cursor.node, cursor.field_name
        assert node is not None  # noqa: S101  a walk has a node
        (line, column), (end_line, end_column) = node.start_point, node.end_point
        print(
            f"{'  ' * depth}{name + ': ' if name else ''}{node.type}  {line + 1}:{column}-{end_line + 1}:{end_column}"
        )
        if cursor.goto_first_child():
            depth += 1
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return
            depth -= 1


if __name__ == "__main__":
    main()
