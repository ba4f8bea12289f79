"""Counterfactuals: 20 films, each removed, against asking about each changed history by itself."""

from collections.abc import Iterator

from ckf_demo.lab.bench.people import people
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.timing import Row, alternate

FILMS = 20


def one_by_one(recommender: Recommender, rounds: int) -> Iterator[Row]:
    """Seconds for a person who was not asked about before, and ratios.

    What it is compared with gives the same answers: the recommender is asked for rating and CTR of
    every changed history, with nothing kept in between, or with the prefixes that it keeps.
    """
    person = people(recommender.system, 1, keenest=True)[0].cut(FILMS)
    history = [
        {"item": recommender.item_order[item], "rating": float(stars)}
        for item, stars in zip(person.items, person.ratings, strict=True)
    ]
    item = recommender.item_order[int(person.candidates[0])]
    changed = [[*history[:place], *history[place + 1 :]] for place in range(len(history))]

    def ask(films: list[dict]) -> None:
        if "rating" in recommender.tasks:
            recommender.rate(history=films, item=item)
        if "ctr" in recommender.tasks:
            recommender.click(history=films, item=item)

    def together() -> None:
        for _ in recommender.counterfactuals.leave_one_out(history=history, item=item):
            pass

    def each(keep: bool) -> None:
        for films in [history, *reversed(changed)]:
            if not keep:
                recommender.forget()
            ask(films)

    seconds = alternate(
        {
            "together": together,
            "each": lambda: each(keep=False),
            "kept": lambda: each(keep=True),
        },
        rounds,
        before=dict.fromkeys(("together", "each", "kept"), recommender.forget),
    )
    yield Row.of(f"why_{FILMS}_seconds", seconds["together"], "s")
    yield Row.of(f"why_{FILMS}_one_by_one_seconds", seconds["each"], "s")
    for way, name in (("each", "one_by_one"), ("kept", "one_by_one_with_kept_prefixes")):
        ratio = seconds[way] / seconds["together"]
        yield Row.of(f"why_{FILMS}_vs_{name}", ratio, "times as fast")
