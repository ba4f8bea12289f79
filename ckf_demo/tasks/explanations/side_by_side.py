"""One paragraph on two items for one person: what speaks for each, and how they differ."""

from collections.abc import Mapping
from dataclasses import dataclass

from ckf_demo.runtime.assets import asset
from ckf_demo.tasks.explanations.facts import CoLikedItems, Film, number
from ckf_demo.tasks.explanations.reasons import (
    FAINT,
    both,
    described,
    shared_by,
    signed_number,
)


@dataclass(frozen=True)
class Side:
    """An item with its predicted rating and the effects of shown ratings on it.

    ``effects`` are by title, and ``given`` is what the person gave these films.
    """

    film: Film
    rating: float
    effects: Mapping[str, float]
    given: Mapping[str, float]


def paragraph(this: Side, that: Side, liked_together: CoLikedItems) -> str:
    """What speaks for each of two items, in effects, and which facts differ."""
    words = asset("reasons.toml")["contrast"]
    names = {"c": this.film.title, "d": that.film.title}
    sentences = [words["higher"].format(**names, p=f"{this.rating:.2f}", q=f"{that.rating:.2f}")]
    for side, other in ((this, that), (that, this)):
        own = {"c": side.film.title, "d": other.film.title}
        title = max(side.effects, key=side.effects.__getitem__, default="")
        if not title or side.effects[title] < FAINT:
            sentences.append(words["nothing"].format(**own))
            continue
        effect, moved = side.effects[title], other.effects.get(title, 0.0)
        case = "moves" if abs(moved) >= FAINT else "unmoved"
        rating = number(side.given[title])
        sentences.append(
            words["for"].format(**own, r=rating, e=title, x=signed_number(effect))
            + words[case].format(**own, y=signed_number(moved))
        )
    kinds = [_described(side.film) for side in (this, that)]
    if kinds[0] != kinds[1]:
        sentences.append(words["differ"].format(**names, lc=kinds[0], ld=kinds[1]))
    if shared := shared_by(this.film, that.film, liked_together, {}):
        sentences.append(both(shared[:2]))
    return " ".join(sentences)


def through_bridges(film: Film, whose: str, before: float, after: float) -> str:
    """What another person's bridges change in a predicted rating."""
    words = asset("reasons.toml")["contrast"]["bridges"]
    change = signed_number(after - before)
    return words.format(c=film.title, whose=whose, p=f"{before:.2f}", q=f"{after:.2f}", x=change)


def _described(film: Film) -> str:
    by = f" by {film.directors[0]}" if film.directors else ""
    return described(film) + by
