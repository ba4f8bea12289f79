"""The words of a data set on the page: what it calls an item, and what people say of it."""

from dataclasses import dataclass

from ckf_demo.ui.charts import stars_cell
from ckf_demo.ui.markup import Cell, date_text


@dataclass(frozen=True)
class Words:
    """Words for items ("film", "films") and for opinions, which are likes where nobody gives stars.

    ``liked_from`` are the fewest stars of an item that was liked, ``times`` says whether the data
    have dates.
    """

    thing: str
    things: str
    stars: bool
    liked_from: float
    times: bool

    @property
    def opinion(self) -> str:
        """One opinion: "rating"."""
        return "rating" if self.stars else "like"

    @property
    def rated(self) -> str:
        """What people did: "rated"."""
        return "rated" if self.stars else "liked"

    def since(self, timestamp: int, preposition: str = "from") -> str:
        """A date after a preposition and a blank, " from 3 May 1998"; nothing without dates."""
        return f" {preposition} {date_text(timestamp)}" if self.times else ""

    def opinion_cell(self, rating: float | None, liked: bool = True) -> Cell:
        """An opinion as a table's cell: stars, or whether the item was liked."""
        if self.stars and rating is not None:
            return stars_cell(rating)
        return Cell("liked" if liked else "not liked", int(liked))


def words_of(recommender) -> Words:
    """The words of a recommender's data."""
    domain, prepared = recommender.domain, recommender.prepared
    return Words(
        domain.thing, domain.things, prepared.has_ratings, prepared.liked_from, prepared.has_times
    )
