"""A place to train in, over the made-up data and the tiny backbone."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from ckf_demo.backbone.loading import dense_precision
from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.data.prepared import Prepared
from ckf_demo.model.system import System
from ckf_demo.runtime.paths import prepared_path
from ckf_demo.training.sequences import PackedSequence, Packer, segments_of
from support.tiny import save_backbone, tiny_config, tiny_data, tiny_knowledge, tiny_system

DATA = tiny_data()
CONFIG = tiny_config()
SEGMENTS = segments_of(DATA, DATA.learning_rows(), CONFIG.prompt)


@cache
def packer() -> Packer:
    """A packer over the made-up data, with an arbitrary rule for who likes the same."""
    return Packer(
        DATA, CONFIG.train, CONFIG.prompt, tiny_knowledge(), lambda a, b: (int(a) + int(b)) % 3 == 0
    )


@cache
def shared_system() -> System:
    """One tiny system for all tests that leave it as it is."""
    return tiny_system()


def draws(n: int, **options) -> list[PackedSequence]:
    """``n`` training sequences, the same each time."""
    rng = np.random.default_rng(0)
    options = {"text_only": False, "augment": True, **options}
    return [packer().draw(SEGMENTS[i % len(SEGMENTS)], rng, **options) for i in range(n)]


def use_fitted_tables(patch: pytest.MonkeyPatch) -> None:
    """Take the tables of the made-up data in the place of fitting any."""
    knowledge = tiny_knowledge()
    patch.setattr(CollaborativeKnowledge, "fit", lambda prepared, **options: knowledge)


def make_workplace(place: Path, patch: pytest.MonkeyPatch, data: Prepared | None = None) -> Path:
    """Work in a folder with a cache of its own, prepared data and a tiny backbone.

    The tables of the made-up data are fitted once for all tests.
    """
    patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    patch.chdir(place)
    if data is None:
        use_fitted_tables(patch)
    (data or DATA).save(prepared_path("made-up"))
    save_backbone(place / "backbone")
    return place


def save_stirred(place: Path) -> None:
    """A checkpoint of stirred weights at ``place / "checkpoint"``, beside its backbone."""
    save_backbone(place / "backbone")
    with pytest.MonkeyPatch.context() as patch:
        use_fitted_tables(patch)
        system = System.for_training(tiny_config(place / "backbone"), DATA)
    torch.manual_seed(7)
    for kind in system.trainable().values():
        for parameter in kind:
            parameter.data += 0.05 * torch.randn_like(parameter)
    system.calibration = {"ctr": (0.8, 0.1)}
    system.save(place / "checkpoint", extra={"training": {"prior": {"rating": 1.5}}})


def reload(folder: Path, data: Prepared = DATA) -> System:
    """A saved checkpoint, as it is served."""
    return System.load(folder, data, quantization=dense_precision())
