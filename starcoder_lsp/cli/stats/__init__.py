"""`starcoder-lsp stats`: report whether suggestions help. The report stays on this machine."""
