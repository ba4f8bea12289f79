"""A tiny checkpoint of positive-only data, trained for clicks, rankings and explanations."""

from pathlib import Path

import pytest

from ckf_demo.data.store import write_store
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.paths import prepared_path, store_path
from ckf_demo.training.loop import train
from support.synthetic import made_up_choices
from support.tiny import save_backbone, tiny_config, write_config


def train_positive_only(folder: Path) -> Path:
    """Fill the folder with a cache, a backbone, ``config.toml`` and ``checkpoints/tiny``."""
    data = made_up_choices()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.chdir(folder)
        data.save(prepared_path("made-up"))
        write_store(data, store_path("made-up"))
        config = tiny_config(
            save_backbone(folder / "backbone"),
            prompt={"window": 12, "block": 4, "question_first": ["ctr", "ranking"]},
            train={"tasks": ["ctr", "ranking", "explanation"], "wording_steps": 4},
        )
        train(write_config(folder, config))
    return folder


def load_positive_only(folder: Path) -> Recommender:
    """The folder's checkpoint; the folder's cache has to be the one in use."""
    return Recommender.load(folder / "checkpoints" / "tiny", quantization="bf16")
