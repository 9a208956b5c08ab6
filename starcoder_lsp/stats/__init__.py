"""Find out whether suggestions help: a record on this machine, and the report made of it."""
