"""A dozen films with what they are about."""

from dataclasses import replace
from functools import cache

from ckf_demo.data.item_facts import ItemFacts
from ckf_demo.data.prepared import Prepared
from ckf_demo.data.sources import RawData

# Title, year, genres, directors, actors, tags, countries, languages, sentence.
US, UK, FR, IT = "United States", "United Kingdom", "France", "Italy"
FILMS = [
    ("Rear Window", 1954, "Mystery Thriller", "Alfred Hitchcock", "James Stewart|Grace Kelly",
     "new york|neighbors|suspenseful", US, "English", "A man watches his neighbours."),
    ("To Catch a Thief", 1955, "Comedy Romance Thriller", "Alfred Hitchcock",
     "Cary Grant|Grace Kelly", "heist|france|witty", US, "English", "A burglar is suspected."),
    ("North by Northwest", 1959, "Comedy Thriller", "Alfred Hitchcock", "Cary Grant",
     "secret agent|wrong man|train", US, "English", "An advertising man is hunted."),
    ("High Noon", 1952, "Western", "Fred Zinnemann", "Gary Cooper|Grace Kelly",
     "gunfighter|american west|honor", US, "English", "A marshal stands alone."),
    ("Unforgiven", 1992, "Western", "Clint Eastwood", "Clint Eastwood|Gene Hackman",
     "gunfighter|american west|violent|bleak", US, "English", "An old killer rides again."),
    ("Jaws", 1975, "Action Horror", "Steven Spielberg", "Roy Scheider|Richard Dreyfuss",
     "sharks|beach|frightening", US, "English", "Something hunts off the beach."),
    ("Jurassic Park", 1993, "Action Sci-Fi", "Steven Spielberg", "Sam Neill|Laura Dern",
     "dinosaurs|island|exciting", US, "English", "A park of old animals breaks down."),
    ("The Visitors", 1993, "Comedy", "Jean-Marie Poiré", "Christian Clavier|Jean Reno",
     "time travel|middle ages|funny", FR, "French", "A knight comes to our time."),
    ("The Postman", 1994, "Drama Romance", "Michael Radford", "Massimo Troisi",
     "poetry|island|italy|gentle", f"{IT}|{FR}", "Italian", "A postman learns from a poet."),
    ("Annie Hall", 1977, "Comedy Romance", "Woody Allen", "Woody Allen|Diane Keaton",
     "new york|love|witty", US, "English", "A comedian remembers a love."),
    ("Brassed Off", 1996, "Comedy Drama", "Mark Herman", "Pete Postlethwaite|Ewan McGregor",
     "labor struggle|music|england", UK, "English", "Miners play in a band."),
    ("Silence", 1926, "Drama", "", "", "", "", "", ""),
]  # fmt: skip


@cache
def films(more: tuple[tuple, ...] = ()) -> Prepared:
    """The films and ``more`` rows of that form, rated by ten made-up users."""
    rows = [*FILMS, *more]
    items = [
        (str(number), title, year, tuple(genres.split()))
        for number, (title, year, genres, *_) in enumerate(rows, start=1)
    ]
    users = [(str(number), None, None, None) for number in range(1, 11)]
    interactions = [
        (user[0], item[0], float(1 + (7 * place + 3 * turn) % 5), 1_000_000 + 60 * turn + place)
        for place, user in enumerate(users)
        for turn, item in enumerate(items)
    ]
    names = [[tuple(filter(None, cell.split("|"))) for cell in row[3:8]] for row in rows]
    facts = ItemFacts(*map(list, zip(*names, strict=True)), [row[8] for row in rows])
    raw = RawData.from_rows(users=users, items=items, interactions=interactions)
    return Prepared.from_raw(replace(raw, facts=facts), "dozen")
