"""Code actions: where something can be written, the rewrite, test files."""
