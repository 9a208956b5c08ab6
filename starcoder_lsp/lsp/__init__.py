"""The language server protocol: the only package that reads and writes its messages."""
