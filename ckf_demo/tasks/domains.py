"""What prompts call people and items, by what a data set is about."""

from dataclasses import dataclass, replace

from ckf_demo.data.sources.base import BOOKS, FILMS, ITEMS, PLACES, PRODUCTS
from ckf_demo.tasks.base import Task


@dataclass(frozen=True)
class Domain:
    """Words of a domain, for example "Viewer", "film" and "watches"."""

    person: str
    thing: str
    openings: dict[str, str]
    """The first line of a prompt, by `Prepared.feedback`. A history without stars holds likes."""
    takes: str

    @property
    def things(self) -> str:
        """The plural: "films"."""
        return f"{self.thing}s"

    @property
    def take(self) -> str:
        """The verb's infinitive: "watch"."""
        # "watches" has an e that the others do not
        return self.takes.removesuffix("s").removesuffix("e")

    def asked(self, task: Task) -> Task:
        """A task in the words of the domain."""
        films = DOMAINS[FILMS]
        return replace(
            task,
            cue=task.cue.replace(films.takes.capitalize(), self.takes.capitalize()),
            lead=task.lead.replace(films.takes, self.takes),
        )


def _openings(things: str, person: str, chose: str) -> dict[str, str]:
    return {
        "ratings": f"{things} one {person} rated, oldest first, 1 (worst) to 5 (best).\n",
        "likes": f"{things} one {person} {chose}, oldest first.\n",
    }


DOMAINS = {
    FILMS: Domain("Viewer", "film", _openings("Films", "viewer", "liked"), "watches"),
    PLACES: Domain("Visitor", "place", _openings("Places", "visitor", "liked"), "visits"),
    PRODUCTS: Domain("Buyer", "product", _openings("Products", "buyer", "liked"), "buys"),
    BOOKS: Domain("Reader", "book", _openings("Books", "reader", "liked"), "reads"),
    ITEMS: Domain("User", "item", _openings("Items", "user", "liked"), "picks"),
}
"""By `Prepared.domain`."""
