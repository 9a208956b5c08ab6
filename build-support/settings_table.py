"""Write the table of settings into `docs/settings.md`."""

from __future__ import annotations

import re
from pathlib import Path

from starcoder_lsp.cli.settings import settings_table

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"
TABLE = re.compile(r"^\| setting \|.*?(?=\n\n|\n\Z)", re.DOTALL | re.MULTILINE)


def main() -> None:
    """Replace the table."""
    PAGE.write_text(TABLE.sub(lambda _: settings_table(), PAGE.read_text(), count=1))


if __name__ == "__main__":
    main()
