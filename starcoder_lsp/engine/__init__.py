"""Everything that runs tokens: model files, prompt formats, the llama.cpp context and generation."""
