"""Items and people as vectors: in collaborative space, as tokens of the prompt, as texts."""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch

from ckf_demo.fusion.base import FusionMethod
from ckf_demo.inference.people import Person
from ckf_demo.inference.predictor import Predictor
from ckf_demo.runtime.errors import UserError

COLLABORATIVE_SPACE, TOKENS, UNTRAINED, TEXT = "collaborative", "llm", "untrained", "text"


class EmbeddingSpaces:
    """The embedding spaces of a checkpoint; its methods are as those of `Recommender`.

    ``collaborative`` holds e_u and E_V, ``llm`` the tokens of the prompt behind a person's bridge,
    ``untrained`` the same tokens before training, and ``text`` the items' texts.
    """

    def __init__(self, predictor: Predictor):
        self._predictor = predictor

    @property
    def names(self) -> tuple[str, ...]:
        """The available spaces; token spaces only if prompts have collaborative tokens."""
        tokens = (TOKENS, UNTRAINED) if self._predictor.system.fusion.uses_tokens else ()
        return (COLLABORATIVE_SPACE, *tokens, TEXT)

    @torch.inference_mode()
    def items(self, space: str, person: Person) -> np.ndarray:
        """The catalogue in one space, float32 (I, dim); tokens are those of ``person``."""
        self._check(space)
        predictor = self._predictor
        if space == COLLABORATIVE_SPACE:
            return predictor.system.knowledge.item_table
        if space == TEXT:
            return predictor.text_vectors
        pairs = predictor.pairs(person, np.arange(predictor.prepared.n_items))
        return self._fusion(space)(pairs).item_tokens.float().cpu().numpy()

    @torch.inference_mode()
    def person(self, space: str, person: Person) -> np.ndarray | None:
        """The person in one space, float32 (dim,)."""
        self._check(space)
        if space == TEXT:
            return None
        pairs = self._predictor.pairs(person, np.array([0]))
        vectors = pairs.users
        if space != COLLABORATIVE_SPACE:
            vectors = self._fusion(space)(pairs).user_tokens
        return vectors[0].float().cpu().numpy()

    def users(self, space: str, progress: Callable[[int], None] | None = None) -> np.ndarray | None:
        """All users of the data at their default moments, in the data's order: (U, dim)."""
        self._check(space)
        if space == TEXT:
            return None
        data, vectors = self._predictor.prepared, []
        moments = self._predictor.store.users()["at"].to_numpy()
        for number, (user, at) in enumerate(zip(data.user_ids, moments, strict=True)):
            rows = data.history.rows_of(number)
            rows = rows[data.timestamp[rows] < at]
            items, ratings = data.item[rows].astype(np.int64), data.rating[rows]
            vectors.append(self.person(space, Person(items, ratings, "", "", user, int(at))))
            if progress is not None:
                progress(number + 1)
        return np.stack(vectors)

    def _check(self, space: str) -> None:
        if space not in self.names:
            raise UserError(f"Unknown space '{space}'; choose one of {', '.join(self.names)}.")

    def _fusion(self, space: str) -> FusionMethod:
        return self._untrained if space == UNTRAINED else self._predictor.system.fusion

    @cached_property
    def _untrained(self) -> FusionMethod:
        return self._predictor.system.untrained_fusion()
