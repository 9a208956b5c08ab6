"""`starcoder-lsp doctor`: gather facts about this machine, check them, and print a report."""
