"""A stage that fits the prior anew on the present tables, for weights that were trained before."""

from typing import cast

import torch
from rich.progress import Progress

from ckf_demo.fusion.ckf import CKF
from ckf_demo.model.manifest import read_manifest
from ckf_demo.model.system import System
from ckf_demo.training.prior import fit_prior
from ckf_demo.training.stage import Stage, console, in_words


class PriorStage(Stage):
    """Fits the collaborative prior; tokens and adapters stay as they are.

    A training fits its prior before the language model learns, so this stage runs on its own alone.
    """

    name = "prior"

    @classmethod
    def needed(cls, system: System) -> bool:
        return system.fusion.prior is not None

    def run(self, progress: Progress) -> None:
        """Fit, and write the checkpoint with the tables for serving."""
        system = self.system
        system.load_weights(self.folder)
        system.calibration = read_manifest(self.folder)["calibration"]
        fusion = cast(CKF, system.fusion)
        torch.manual_seed(system.config.train.seed)
        fusion.prior = fusion.new_prior().to(fusion.feature_mean.device)
        losses = fit_prior(
            fusion,
            system.prepared,
            system.knowledge,
            serving=system.serving,
            newcomers=self.packer.newcomers,
            seed=system.config.train.seed,
        )
        console.print(f"validation: {in_words(losses)}")
        self.save(losses)
