"""Text vectors of a catalogue's items, and their similarity to a taste."""

from functools import cached_property

import numpy as np

from ckf_demo.collaborative.text_vectors import item_text_vectors, text_encoder
from ckf_demo.data.prepared import Prepared


class ItemTexts:
    """Texts of the catalogue's items (title, year, genres), and tastes, as unit vectors."""

    def __init__(self, prepared: Prepared, device: str):
        self.prepared, self.device = prepared, device

    @cached_property
    def encoder(self):
        """MiniLM."""
        return text_encoder(self.device)

    @cached_property
    def vectors(self) -> np.ndarray:
        """float32 (I, 384)."""
        return item_text_vectors(self.prepared, self.device)

    def taste_similarity(self, taste: str) -> np.ndarray:
        """The similarity of each item's text to a taste, float32 (I,).

        In standard deviations over the catalogue.
        """
        similarity = self.vectors @ self.encoder.encode(taste, normalize_embeddings=True)
        return ((similarity - similarity.mean()) / similarity.std()).astype(np.float32)
