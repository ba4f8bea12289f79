"""How alike items are by what is written of them: their words, their people and their tags."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

from ckf_demo.collaborative.text_vectors import item_texts
from ckf_demo.data.prepared import Prepared

KINDS = ("words", "people", "tags")


def word_index(texts: Sequence[str]) -> tuple[TfidfVectorizer, csr_matrix]:
    """Tf-idf of texts, over words and pairs of words, and their rows (n, V) of unit length."""
    vectorizer = TfidfVectorizer(
        sublinear_tf=True, stop_words="english", ngram_range=(1, 2), strip_accents="unicode"
    )
    return vectorizer, _rows(vectorizer, texts)


def _rows(vectorizer: TfidfVectorizer, documents: Sequence) -> csr_matrix:
    """Fit the vectorizer: rows (n, terms), without any terms where no document has one."""
    terms = vectorizer.build_analyzer()
    if not any(map(terms, documents)):
        return csr_matrix((len(documents), 0))
    return vectorizer.fit_transform(documents)


def full_texts(prepared: Prepared) -> list[str]:
    """All that is written of every item: title, year, genres and facts."""
    lines = item_texts(prepared)
    if prepared.facts is None:
        return lines
    return [f"{line}. {prepared.facts.text(item)}" for item, line in enumerate(lines)]


@dataclass(frozen=True)
class Likeness:
    """Sparse rows (I, terms) by kind, of `KINDS`; without facts there are words alone."""

    rows: dict[str, csr_matrix]

    @classmethod
    def of(cls, prepared: Prepared) -> "Likeness":
        """The likeness of a catalogue's items."""
        rows = {"words": word_index(full_texts(prepared))[1]}
        if (facts := prepared.facts) is not None:
            people = [
                [f"director {name}" for name in directors] + [f"actor {name}" for name in actors]
                for directors, actors in zip(facts.directors, facts.actors, strict=True)
            ]
            rows["people"] = _rows(TfidfVectorizer(analyzer=list, use_idf=False, norm=None), people)
            rows["tags"] = _rows(TfidfVectorizer(analyzer=list, smooth_idf=False), facts.tags)
        return cls(rows)

    def between(self, kind: str, some: np.ndarray, others: np.ndarray) -> np.ndarray:
        """How alike items (m,) are to others (n,): float32 (m, n); 0 for an item and itself.

        Cosines of words and tags, and the number of people in common, at most two.
        """
        if kind not in self.rows:
            return np.zeros((len(some), len(others)), np.float32)
        rows = self.rows[kind]
        alike = np.asarray((rows[some] @ rows[others].T).todense(), np.float32)
        return np.where(some[:, None] == others[None, :], 0, np.minimum(alike, 2))
