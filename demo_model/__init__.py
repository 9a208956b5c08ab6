"""The demonstrator model: a small StarCoder2-shaped model, trained from scratch by this folder's three steps."""

from pathlib import Path

import platformdirs


def default_work_dir() -> Path:
    """Where corpus, vocabulary and checkpoints are kept between runs."""
    return platformdirs.user_cache_path("starcoder-lsp") / "demo_model"
