"""Local code completion by StarCoder2, as a language server."""

__version__ = "0.1.0"
