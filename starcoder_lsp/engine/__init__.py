"""How tokens are run: model files, prompt formats, the llama.cpp context and generation."""
