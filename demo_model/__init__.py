"""The demonstrator model: a small StarCoder2-shaped model, trained from scratch by this folder's steps."""

from pathlib import Path


def default_work_dir() -> Path:
    """Where corpus, vocabulary and checkpoints are kept between runs."""
    try:
        import platformdirs
    except ImportError:  # on a machine that only trains
        return Path("demo_model_work")
    return platformdirs.user_cache_path("starcoder-lsp") / "demo_model"
