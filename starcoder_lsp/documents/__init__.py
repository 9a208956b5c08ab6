"""The documents of the editor: texts, their versions and their syntax trees, below the protocol, without any model."""
