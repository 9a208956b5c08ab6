"""`starcoder-lsp models`: the commands that list, download, choose, verify and remove models."""
