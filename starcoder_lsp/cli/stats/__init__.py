"""`starcoder-lsp stats`: does it help? A report that stays on the machine."""
