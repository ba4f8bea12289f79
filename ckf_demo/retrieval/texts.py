"""Similarity of a text to the items' own texts, by meaning (MiniLM) and by words (tf-idf)."""

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

from ckf_demo.collaborative.likeness import full_texts, word_index
from ckf_demo.collaborative.text_vectors import encoded_texts, item_texts, text_encoder
from ckf_demo.data.prepared import Prepared

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

OUTLIER = 3.0
"""Similarities count up to so many standard deviations: a single shared rare word has twenty."""


def standardised(values: np.ndarray) -> np.ndarray:
    """Values in standard deviations from their mean, within ±`OUTLIER`: float32."""
    spread = values.std() or 1.0
    return np.clip((values - values.mean()) / spread, -OUTLIER, OUTLIER).astype(np.float32)


class TextIndex:
    """Texts of the catalogue's items.

    Attributes
    ----------
    contents
        What each item is about: its sentence, tags and genres; title, year and genres without such
        facts. Compared by meaning, where a title misleads.
    words
        All that is written of each item, its title included. Compared by words.
    """

    def __init__(self, prepared: Prepared, device: str = "cpu"):
        self.prepared, self.device = prepared, device
        self.contents, self.words = item_texts(prepared), full_texts(prepared)
        if prepared.facts is not None:
            for item, genres in enumerate(prepared.genres):
                if about := prepared.facts.about(item):
                    self.contents[item] = f"{about} {', '.join(genres)}"

    @cached_property
    def vectors(self) -> np.ndarray:
        """MiniLM embeddings of the contents, float32 (I, 384) of unit length."""
        return encoded_texts(self.contents, self.device)

    @cached_property
    def encoder(self) -> "SentenceTransformer":
        """MiniLM."""
        return text_encoder(self.device)

    @cached_property
    def _word_index(self) -> tuple[TfidfVectorizer, csr_matrix]:
        return word_index(self.words)

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        """Words whose meaning is known: those of the texts, and whole words of the encoder."""
        words = {word for word in self._word_index[0].vocabulary_ if " " not in word}
        known = self.encoder.tokenizer.get_vocab()
        return frozenset(words | {word for word in known if word.isalpha() and len(word) > 2})

    def by_meaning(self, text: str) -> np.ndarray:
        """Cosine of MiniLM embeddings: float32 (I,)."""
        return self.vectors @ self.encoder.encode(text, normalize_embeddings=True)

    def by_words(self, text: str) -> np.ndarray:
        """Cosine of tf-idf vectors: float32 (I,)."""
        vectorizer, matrix = self._word_index
        return np.asarray((matrix @ vectorizer.transform([text]).T).todense()).ravel()

    def similarity(self, text: str, literal: str) -> np.ndarray:
        """Likeness of meaning to ``text`` and of words to ``literal``, summed: float32 (I,).

        In standard deviations over the catalogue.
        """
        total = standardised(self.by_meaning(text))
        if literal:
            total = total + standardised(self.by_words(literal))
        return standardised(total)

    def similarity_to_item(self, item: int) -> np.ndarray:
        """The same to the text of an item: float32 (I,)."""
        _, matrix = self._word_index
        words = np.asarray((matrix @ matrix[item].T).todense()).ravel()
        meaning = self.vectors @ self.vectors[item]
        return standardised(standardised(meaning) + standardised(words))
