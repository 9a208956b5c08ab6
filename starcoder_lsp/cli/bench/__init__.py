"""Commands that measure: speed, reuse of cached tokens, and the quality of suggestions."""
