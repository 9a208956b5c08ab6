"""The edge: the language server protocol, and nothing else of the program."""
