"""`starcoder-lsp models`: which models there are, and the commands that get, choose, check and remove them."""
