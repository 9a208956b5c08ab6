; nothing is imported: a script runs in the database that it is sent to
