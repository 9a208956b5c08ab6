"""`python -m starcoder_lsp`, the same as `starcoder-lsp`."""

from starcoder_lsp.cli import main

raise SystemExit(main())
