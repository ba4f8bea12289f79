"""What moved a predicted rating: the effect of each shown rating, of words, profile and level.

Effects are computed on the answer that is served. Where the language model has little weight, the
collaborative prior's part of all effects is exact, while the language model's logits stay those of
the unchanged prompt; then the greatest effects, which an explanation may cite, are computed with
the whole model, as on the page *Why*. Otherwise the whole model computes all of them.
"""

from dataclasses import replace

import torch

from ckf_demo.inference.changed_histories import Change, answers_without
from ckf_demo.inference.figures import figures
from ckf_demo.inference.people import Person, nobody
from ckf_demo.inference.predictor import Predictor
from ckf_demo.model.predict import Context, answer_states, fuse
from ckf_demo.tasks import rating
from ckf_demo.tasks.explanations.facts import POSITIVE_FROM, Film
from ckf_demo.tasks.explanations.reasons import Cause, Situation, Wished, shared_by

REUSED_UP_TO = 0.2
"""The greatest weight of the language model with which its logits may stand for changed ones."""
FINALISTS = 3
"""Ratings in each direction whose effects are computed with the whole model."""
BETTER_BY, LOOKED_AT = 0.4, 200
"""Stars by which a film must be predicted higher to be named as better, and how many of the best
candidates are looked through."""
GENRES_COUNT = 3.0
"""How many common facts having the same genres is worth."""


def situation_of(
    predictor: Predictor, person: Person, target: int, stars: float, *, rated: float | None = None
) -> Situation:
    """Everything that an explanation of a predicted rating may say.

    ``stars`` is the prediction as the verdict takes it, and ``rated`` what the person gave the item
    before, which ``person`` does not hold any more.
    """
    average = predictor.average(target)["rating"]
    count = int(predictor.system.knowledge.item_count[target])
    wishes = ()
    if predictor.match(person) is not None:
        understood = predictor.read_taste(person.taste, predictor.film(target).item)["understood"]
        wishes = tuple(
            Wished(wish["name"], wish["wanted"], wish["holds"])
            for wish in understood
            if wish["holds"] is not None
        )
    situation = Situation(
        candidate=predictor.film(target),
        rating=stars,
        causes=tuple(causes_of(predictor, person, target)),
        known=len(person.items),
        average=None if average is None else (average, count),
        rated=rated,
        wishes=wishes,
        liked_together=predictor.liked_together,
        counts=predictor.theme_counts,
    )
    if situation.sign < 0:
        situation = replace(situation, better=_better(predictor, person, target, stars))
    return situation


@torch.inference_mode()
def causes_of(predictor: Predictor, person: Person, target: int) -> list[Cause]:
    """The effects on the predicted rating, those of the shown ratings in the order of time."""
    with predictor.lock:
        base = _stars(predictor, person, target)
        effects = _effects_of_ratings(predictor, person, target, base)
        causes = [
            Cause("rating", effect, predictor.film(int(person.items[p])), float(person.ratings[p]))
            for p, effect in effects.items()
        ]
        unknown = _stars(predictor, nobody(), target)
        if len(person.items) > person.named:
            rest = slice(0, person.named)
            alone = replace(person, items=person.items[rest], ratings=person.ratings[rest])
            causes.append(Cause("history", base - _stars(predictor, alone, target)))
        if predictor.match(person) is not None:
            kept = slice(person.named, None)
            silent = replace(
                person, taste="", named=0, items=person.items[kept], ratings=person.ratings[kept]
            )
            causes.append(Cause("words", base - _stars(predictor, silent, target)))
        if person.profile:
            plain = replace(person, profile="")
            causes.append(Cause("profile", base - _stars(predictor, plain, target)))
        mean = float(predictor.system.knowledge.global_mean)
        return [*causes, Cause("level", unknown - mean)]


def _stars(predictor: Predictor, person: Person, target: int) -> float:
    """The predicted rating, from the kept answers where it is there."""
    (answer,) = predictor.ask(person, [("rating", target, predictor.methods[0])])
    stars = figures({"rating": answer})["rating"]
    assert stars is not None
    return stars


def _effects_of_ratings(
    predictor: Predictor, person: Person, target: int, base: float
) -> dict[int, float]:
    """The effect of each shown rating, by its place in the history."""
    shown_from = predictor.context(person).shown_from
    places = list(range(shown_from, len(person.items)))
    if not places:
        return {}
    effects = None
    if not predictor.system.asks_prior_alone("rating"):
        effects = _by_prior(predictor, person, target, places)
    if effects is None:
        finalists, effects = places, {}
    else:
        order = sorted(places, key=effects.__getitem__)
        finalists = sorted({*order[:FINALISTS], *order[-FINALISTS:]}, reverse=True)
    changes = [Change(place) for place in finalists]
    for change, stars in answers_without(predictor, person, changes, target):
        effects[change.place] = base - stars
    return effects


def _by_prior(
    predictor: Predictor, person: Person, target: int, places: list[int]
) -> dict[int, float] | None:
    """Effects with the language model's logits as they are.

    None for a method without a prior, or if the language model's weight is above `REUSED_UP_TO`.
    """
    system = predictor.system
    context = predictor.context(person)
    question = context.question("rating", target)
    fused = fuse(system, context, [question])
    if fused is None or "rating" not in fused.prior or fused.weight["rating"] > REUSED_UP_TO:
        return None
    (hidden,) = answer_states(system, context, [question], fused, prefixes=predictor.prefixes)

    def stars(of: Context) -> float:
        changed = fuse(system, of, [of.question("rating", target)])
        answer = system.read("rating", hidden, changed, [0], calibrate=True)[0]
        value = figures({"rating": answer})["rating"]
        assert value is not None
        return value

    base, effects = stars(context), {}
    for place in places:
        removed = predictor.context(Change(place).of(person), [int(person.items[place])])
        effects[place] = base - stars(replace(removed, shown_from=context.shown_from))
    return effects


@torch.inference_mode()
def _better(
    predictor: Predictor, person: Person, target: int, stars: float
) -> tuple[Film, float] | None:
    """The film most like an item that is predicted clearly higher, and its prediction.

    None without such a film among the candidates, or for a method without a prior.
    """
    if predictor.prepared.feedback == "likes":
        return None
    candidate, together = predictor.film(target), predictor.liked_together
    pool = predictor.candidates(person, LOOKED_AT)
    pool = pool[pool != target]
    prior = predictor.fuse(person, pool).prior
    if "rating" not in prior:
        return None
    expected = rating.expectation(prior["rating"].log_softmax(-1)).tolist()
    likeness = {
        int(item): len(shared_by(candidate, predictor.film(int(item)), together, {}))
        + GENRES_COUNT * _genres_in_common(candidate, predictor.film(int(item)))
        for item, value in zip(pool, expected, strict=True)
        if value >= max(stars + BETTER_BY, POSITIVE_FROM)
        and {*candidate.labels} & {*predictor.film(int(item)).labels}
        and predictor.film(int(item)).title
    }
    if not likeness:
        return None
    best = max(likeness, key=likeness.__getitem__)
    film, predicted = predictor.film(best), _stars(predictor, person, best)
    # the language model's part may have the last word
    return (film, predicted) if predicted >= stars + BETTER_BY / 2 else None


def _genres_in_common(first: Film, second: Film) -> float:
    """The share of the genres of either film that both have, in 0–1."""
    mine, others = set(first.labels), set(second.labels)
    return len(mine & others) / max(1, len(mine | others))
