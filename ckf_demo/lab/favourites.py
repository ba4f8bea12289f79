"""A person's favourite genre, asked of the language model in words (A-LLMRec's example).

    Films one viewer rated, oldest first, 1 (worst) to 5 (best).
    Viewer: 24, M, technician
    4 Toy Story <item>                     ← history, left out on request
    Viewer <user token>'s favourite genre is  … Comedy

No adapter was trained for this question: it shows what a person's tokens say to the backbone as it
came. Every genre of the data is scored by the probability of its name, and the model may also be
let to write.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ckf_demo.backbone.engine import Branch
from ckf_demo.model.predict import Context, fuse
from ckf_demo.model.system import System
from ckf_demo.runtime.errors import UserError

QUESTION = "'s favourite film genre is"
WRITTEN = 8
"""Tokens at most that are written in free words."""


@dataclass(frozen=True)
class Favourite:
    """``genres`` by probability among all genres, and what was written in free words."""

    genres: dict[str, float]
    text: str = ""

    @property
    def genre(self) -> str:
        """The most probable genre."""
        return max(self.genres, key=self.genres.__getitem__)

    def beside(self, nobody: "Favourite") -> dict[str, float]:
        """Each genre's probability over that for somebody without a history.

        It takes off what the model would say of anybody.
        """
        return {genre: p / nobody.genres[genre] for genre, p in self.genres.items()}


def known_genres(system: System) -> list[str]:
    """Genres of the catalogue, by name."""
    return sorted({genre for own in system.prepared.genres for genre in own})


@torch.inference_mode()
def favourite_genre(
    system: System,
    items: Sequence[int] | np.ndarray,
    ratings: Sequence[float] | np.ndarray,
    *,
    profile: str = "",
    tokens: bool = True,
    titles: bool = True,
    adapters: bool = False,
    write: bool = False,
) -> Favourite:
    """Which genre a person with a history likes most, as the language model says it.

    Parameters
    ----------
    items, ratings
        The history, oldest first: item indices and stars.
    tokens
        Whether the person's token, and those of the history for methods that have them, stand in
        the prompt.
    titles
        Whether the history stands there; without it tokens alone speak of the person.
    adapters
        Whether the shared adapter acts, if the checkpoint has one; by default the backbone is as
        it came.
    write
        Whether the model also writes an answer in free words.

    Raises
    ------
    UserError
        When tokens are asked of a method that has none: CoRA's updates belong to pairs of a person
        and an item, and text-only checkpoints have nothing.
    """
    fusion, writer, engine = system.fusion, system.writer, system.engine
    if tokens and not fusion.uses_tokens:
        raise UserError(
            f"{fusion.label} gives a person no token; ask with tokens=False, or take a checkpoint "
            "of CKF, CoLLM or A-LLMRec."
        )
    items, ratings = np.asarray(items, np.int64), np.asarray(ratings, np.float32)
    context = Context.of(items, ratings, system.config.prompt, profile)
    if not titles:
        context = replace(context, shown_from=len(items))
    prefix = context.prefix(writer, with_tokens=tokens).ids
    slots = None
    ids, places = list(writer.tokens("Viewer")), []
    if tokens:
        # the person's token does not depend on the item
        fused = fuse(system, context, [context.question("", 0)])
        assert fused is not None  # methods with tokens fuse
        width = writer.token_width
        slots = fused.user_tokens.view(width, -1)
        places = list(range(len(ids), len(ids) + width))
        ids = [*ids, *[writer.tokenizer.eos_token_id] * width]
    ids += writer.tokens(QUESTION)
    genres = known_genres(system)
    names = [writer.tokens(f" {genre}") for genre in genres]
    branches = [
        Branch([*ids, *name[:-1]], len(prefix), "", places, answers_from=len(ids) - 1)
        for name in names
    ]
    states = engine.forward(prefix, branches, [slots] * len(branches), shared=adapters, tasks=False)
    scores = [
        -torch.nn.functional.cross_entropy(
            engine.logits(hidden), torch.tensor(name, device=hidden.device), reduction="sum"
        )
        for hidden, name in zip(states, names, strict=True)
    ]
    shares = torch.stack(scores).softmax(0).tolist()
    text = _written(system, prefix, ids, places, slots, adapters) if write else ""
    return Favourite(dict(zip(genres, shares, strict=True)), text)


def _written(
    system: System,
    prefix: list[int],
    ids: list[int],
    places: list[int],
    slots: torch.Tensor | None,
    adapters: bool,
) -> str:
    """Greedy words after the question, to the end of the line."""
    written: list[int] = []
    for _ in range(WRITTEN):
        branch = Branch([*ids, *written], len(prefix), "", places)
        (hidden,) = system.engine.forward(prefix, [branch], [slots], shared=adapters, tasks=False)
        token = int(system.engine.logits(hidden)[-1].argmax())
        if token in system.writer.stop_ids:
            break
        written.append(token)
    return system.writer.decode(written).strip()
