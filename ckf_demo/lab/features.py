"""Which features of items texts speak of: match, coverage and diversity, after PETER and PEPLER.

Their data come with features; ours do not. A feature here is a content word
(`tasks.explanations.grounding.content`; "service" and "services" are one) that is in at least
`LEAST` texts of the training part and in no more than `MOST` of all of them. Rarer words are names
and slips, and more frequent words say nothing about an item. Whether a text praises or blames a
feature is not measured.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ckf_demo.tasks.explanations.grounding import content, tokens

LEAST, MOST = 3, 0.25
"""Texts with a feature: at least so many, and at most this share."""


class Features:
    """The features of training texts; there may be none."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = Counter(word for text in texts for word in set(words(text)))
        most = max(1, int(MOST * len(texts)))
        kept = sorted(word for word, n in counts.items() if min(LEAST, most) <= n <= most)
        self._place = {word: place for place, word in enumerate(kept)}

    def __len__(self) -> int:
        return len(self._place)

    def of(self, texts: Sequence[str]) -> np.ndarray:
        """Whether each text names each feature: bool (texts, features)."""
        named = np.zeros((len(texts), len(self)), dtype=bool)
        for row, text in zip(named, texts, strict=True):
            row[[self._place[word] for word in words(text) if word in self._place]] = True
        return named

    def match(self, texts: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """The share of a reference's features that the text names: float (n,), NaN where the
        reference has none. With one feature to a reference it is the feature matching ratio."""
        wanted, named = self.of(references), self.of(texts)
        total = wanted.sum(axis=1)
        in_both = (wanted & named).sum(axis=1)
        return np.divide(in_both, total, out=np.full(len(total), np.nan), where=total > 0)

    def coverage(self, texts: Sequence[str]) -> float:
        """The share of all features that any of the texts names (feature coverage ratio); NaN where
        there is no feature."""
        return float(self.of(texts).any(axis=0).mean()) if len(self) else float("nan")

    def in_common(self, texts: Sequence[str]) -> float:
        """How many features two of the texts have in common, a mean over all pairs of them
        (feature diversity: the fewer, the more different they are); NaN for fewer than two."""
        counts, n = self.of(texts).sum(axis=0), len(texts)
        if n < 2:
            return float("nan")
        return float((counts * (counts - 1)).sum() / (n * (n - 1)))


def words(text: str) -> list[str]:
    """Stems of a text's words that say something."""
    return [stem for stem, _ in tokens(text) if content(stem) and len(stem) > 1]
