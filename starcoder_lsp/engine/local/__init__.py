"""llama.cpp, in the host's process only."""
