"""`starcoder-lsp doctor`: facts about this machine, checks of them, and the report."""
