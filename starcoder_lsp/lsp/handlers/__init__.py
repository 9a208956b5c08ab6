"""A few lines for each message, a file for each kind."""
