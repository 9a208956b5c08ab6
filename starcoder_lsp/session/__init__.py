"""What one editor's session holds and does, in the program's own values."""
