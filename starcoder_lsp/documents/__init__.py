"""What the editor holds: texts, their versions and their syntax trees, below the protocol and apart from any model."""
