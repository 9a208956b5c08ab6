"""The process that runs the model, and how a server finds it."""
