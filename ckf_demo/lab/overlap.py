"""Overlap of texts with reference texts: in words, and in the vectors of a sentence encoder."""

from collections.abc import Callable, Sequence

import numpy as np

from ckf_demo.collaborative.text_vectors import text_encoder

LONGEST_GRAM = 4

Measure = Callable[[Sequence[str], Sequence[str]], np.ndarray]


def bleu(texts: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Smoothed sentence BLEU of up to four words (torchmetrics), lower case: float (n,) in 0–1.

    Corpus BLEU has no value for a single text, of which intervals could be made.
    """
    from torchmetrics.functional.text import sacre_bleu_score

    return np.array(
        [
            float(
                sacre_bleu_score(
                    [text], [[reference]], n_gram=LONGEST_GRAM, smooth=True, lowercase=True
                )
            )
            for text, reference in zip(texts, references, strict=True)
        ]
    )


def rouge(key: str) -> Measure:
    """ROUGE's F measure (torchmetrics), lower case and without stemming; ``key`` as there."""

    def measure(texts: Sequence[str], references: Sequence[str]) -> np.ndarray:
        from torchmetrics.functional.text import rouge_score

        return np.array(
            [
                float(rouge_score(text, reference, rouge_keys=key)[f"{key}_fmeasure"])
                for text, reference in zip(texts, references, strict=True)
            ]
        )

    return measure


def similarity(texts: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Cosine of MiniLM's embeddings: float (n,)."""
    made, given = (embedded(part) for part in (texts, references))
    return (made * given).sum(axis=1)


def embedded(texts: Sequence[str]) -> np.ndarray:
    """MiniLM's embeddings, float32 (n, 384) of unit length; a text that comes again costs nothing.

    Raises
    ------
    ValueError
        Without any text.
    """
    if not len(texts):
        raise ValueError("there is no text to embed")
    different, place = np.unique(np.array(texts, dtype=object).astype(str), return_inverse=True)
    vectors = text_encoder().encode(
        different.tolist(), normalize_embeddings=True, batch_size=64, show_progress_bar=False
    )
    return np.asarray(vectors, dtype=np.float32)[place]


OVERLAP: dict[str, Measure] = {
    "bleu": bleu,
    "rouge_1": rouge("rouge1"),
    "rouge_l": rouge("rougeL"),
    "similarity": similarity,
}
"""By metric; each takes texts and their references, n each, and gives float (n,)."""
