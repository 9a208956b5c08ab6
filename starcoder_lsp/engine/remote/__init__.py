"""Engines on other machines, or behind a port of this one: one protocol a file."""
