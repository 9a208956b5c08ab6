"""What measures: speed, reuse, and how good suggestions are."""
