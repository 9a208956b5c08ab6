"""The text around the cursor, and of other files, that the model sees."""
