"""Handlers of messages, a module for each kind of message."""
