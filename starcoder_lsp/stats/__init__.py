"""Whether suggestions help: a record on this machine, and the report that is made of it."""
