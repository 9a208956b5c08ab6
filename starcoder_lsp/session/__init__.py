"""The state and the work of one editor's session, in the program's own values."""
