"""Code actions: which ones a place offers, the text that the model writes, and test files."""
