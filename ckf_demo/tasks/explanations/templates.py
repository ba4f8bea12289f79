"""The wordings of explanations: clauses, and frames that join clauses into sentences.

Clauses begin in lower case and end without a stop. Slots: {c} the candidate (its title first, "it"
or "this film" later), {e} a film of the history, {r} its rating, {w} the rating as a relative
clause, {g} shared genres as nouns ("Crime and Drama"), {G} the same before "film" ("Crime Drama"),
{aG} with its article, {d} a decade ("1990s"). Mixed texts keep to words without sentiment.
"""

VERDICT: dict[str, tuple[str, ...]] = {
    "positive": (
        "{c} should be a great fit",
        "{c} looks like a great match for you",
        "{c} is a strong pick for you",
        "you will probably enjoy {c}",
        "you should have a good time with {c}",
        "{c} promises a good evening",
        "{c} is well worth your time",
        "{c} looks very promising",
        "you are likely to love {c}",
        "{c} should please you",
        "{c} should suit you very well, a great choice",
        "{c} makes an excellent next film",
        "{c} is easy to recommend",
        "{c} is a good bet",
        "you can look forward to {c} with great pleasure",
        "{c} should be a real treat",
    ),
    "mixed": (
        "{c} could go either way",
        "{c} may land in the middle for you",
        "expect something in between from {c}",
        "{c} is a coin toss",
        "{c} looks about average for you",
        "{c} may work or may not",
        "it is an open question how {c} goes down",
        "{c} sits halfway for you",
        "{c} should come out around the middle",
        "{c} speaks to one half of your taste",
        "do not set the bar too high for {c}",
        "{c} may be only so-so for you",
    ),
    "negative": (
        "{c} will probably disappoint you",
        "{c} seems a poor choice",
        "{c} seems a weak match for you",
        "{c} is a poor match for your taste",
        "{c} is a bad bet",
        "{c} could turn out boring for you",
        "{c} could be a waste of your evening",
        "expect to be disappointed by {c}",
        "{c} would likely be a disappointment",
        "{c} is probably the wrong film for you",
        "you may regret picking {c}",
        "{c} would be a bad choice for you",
        "{c} has a weak case",
        "{c} risks being a dull and poor evening",
        "{c} would probably annoy you",
        "{c} is likely to fail with you",
        "{c} seems disappointing for you",
    ),
}

RATED = {
    "high": (
        "you gave {e} a {r}",
        "you rated {e} a {r}",
        "{e} got a {r} from you",
        "{e} earned a {r} from you",
        "you scored {e} with a {r}",
        "your rating for {e} was a {r}",
    ),
    "low": (
        "you gave {e} only a {r}",
        "you rated {e} just a {r}",
        "{e} got only a {r} from you",
        "{e} earned just a {r} from you",
        "you scored {e} with a mere {r}",
        "your rating for {e} was just a {r}",
    ),
    "which": (
        "which you gave a {r}",
        "which you rated a {r}",
        "which got a {r} from you",
        "a {r} in your ratings",
        "which earned a {r} from you",
    ),
    "which low": (
        "which you gave only a {r}",
        "which you rated just a {r}",
        "which got only a {r} from you",
        "just a {r} in your ratings",
        "which earned a mere {r} from you",
    ),
}

# What ties the candidate to the film just named.
TIE = {
    "g": (
        "{c} is another {G} film",
        "{c} is also {aG} film",
        "{c} is {aG} film too",
        "{c} has {g} too",
        "{c} goes for {g} again",
        "both are {G} films",
        "{c} likewise belongs to {g}",
    ),
    "d": (
        "{c} is from the {d} too",
        "both come from the {d}",
        "{c} is another film from the {d}",
        "{c} was also made in the {d}",
        "both are films of the {d}",
    ),
    "gd": (
        "{c} is another {G} film from the {d}",
        "both are {G} films of the {d}",
        "{c} is also {aG} film from the {d}",
        "both are {d} films with {g}",
        "{c} is {aG} film from the {d} too",
    ),
    "x": (
        "{c} has different genres",
        "the two differ in genre",
        "{c} comes from other genres",
        "{c} is far from it in genre",
    ),
}
TIE_FANS = {
    "warm": (
        "people who like it tend to like {c}",
        "the same people like both",
        "its fans tend to like {c} as well",
        "{c} is liked by the same people",
        "both have the same fans",
    ),
    "plain": (
        "people who rate it highly rate {c} highly too",
        "the same people rate both highly",
        "{c} is rated highly by the same people",
        "both are rated highly by the same people",
    ),
}
TIE_GENRE_FANS = {
    "warm": (
        "{c} is another {G} film that the same people like",
        "{c} is also {aG} film with the same fans",
        "both are {G} films liked by the same people",
        "both are {G} films with the same fans",
        "{c} is {aG} film too, liked by the same people",
    ),
    "plain": (
        "{c} is another {G} film that the same people rate highly",
        "both are {G} films rated highly by the same people",
        "{c} is also {aG} film, rated highly by the same people",
    ),
}

# The tie and the film's rating ({w} is one of the "which" forms) in one clause.
LINK = {
    "g": (
        "{c} is {aG} film just as {e}, {w}",
        "{c} has {g} in common with {e}, {w}",
        "in {g}, {c} comes close to {e}, {w}",
        "{c} goes back to the {g} of {e}, {w}",
        "{c} is from the same {G} shelf as {e}, {w}",
        "in {g}, {c} matches {e}, {w}",
    ),
    "d": (
        "{c} comes from the {d}, as does {e}, {w}",
        "{c} was made in the {d}, the same as {e}, {w}",
        "{c} is from the same decade, the {d}, as {e}, {w}",
    ),
    "gd": (
        "{c} is {aG} film from the {d} just as {e}, {w}",
        "{c} has the {d} and {g} in common with {e}, {w}",
        "{c} goes back to the {g} and the {d} of {e}, {w}",
    ),
    "x": (
        "{c} has other genres than {e}, {w}",
        "{c} differs in genre from {e}, {w}",
        "{c} comes from other genres than {e}, {w}",
        "{c} is far in genre from {e}, {w}",
    ),
}
LINK_FANS = {
    "warm": (
        "fans of {e}, {w}, tend to like {c}",
        "{c} is liked by the same people as {e}, {w}",
        "people who like {e}, {w}, tend to like {c} too",
        "{c} has the same fans as {e}, {w}",
    ),
    "plain": (
        "people who think highly of {e}, {w}, think the same of {c}",
        "{c} is rated highly by the same people as {e}, {w}",
        "the same people think highly of {c} and of {e}, {w}",
    ),
}
LINK_GENRE_FANS = {
    "warm": (
        "fans of {e}, {w}, tend to like {c}, another {G} film",
        "{c} is {aG} film liked by the same people as {e}, {w}",
        "{c} has {g} and the same fans in common with {e}, {w}",
    ),
    "plain": (
        "{c} is {aG} film rated highly by the same people as {e}, {w}",
        "the same people think highly of {c}, another {G} film, and of {e}, {w}",
    ),
}

# Frames around a rating {rate} followed by a tie {tie}, or around one {link}, and the {verdict}.
SUPPORT = {
    "rate": (
        "{rate}, and {tie}, so {verdict}.",
        "{rate}; {tie}, so {verdict}.",
        "{rate} and {tie}: {verdict}.",
        "{verdict}: {rate}, and {tie}.",
        "since {rate} and {tie}, {verdict}.",
        "{verdict}; {rate}, and {tie}.",
        "{rate}; {tie}, and so {verdict}.",
    ),
    "link": (
        "{link}, so {verdict}.",
        "{link}: {verdict}.",
        "{verdict}, because {link}.",
        "{verdict}: {link}.",
        "{verdict}; {link}.",
        "{verdict}, since {link}.",
    ),
}
CONTRAST = {
    "rate": (
        "{rate} and {tie}, yet {verdict}.",
        "although {rate} and {tie}, {verdict}.",
        "{rate}, and {tie}; even so, {verdict}.",
        "{verdict}, even though {rate} and {tie}.",
        "{rate}, {tie}; still, {verdict}.",
    ),
    "link": (
        "{link}, yet {verdict}.",
        "although {link}, {verdict}.",
        "{link}; even so, {verdict}.",
        "{verdict}, even though {link}.",
        "{link}; still, {verdict}.",
    ),
}

# A second film on the same side, as its own sentence; both films at once where they share a tie.
ALSO = {
    "g": (
        "{e}, {w}, is {aG} film too.",
        "{e}, another {G} film, {got}.",
        "{e} is also {aG} film, {w}.",
        "there is {g} in {e} too, {w}.",
    ),
    "f warm": (
        "fans of {e}, {w}, like it too.",
        "{e}, {w}, has the same fans.",
        "the same people also like {e}, {w}.",
    ),
    "f plain": (
        "{e}, {w}, is rated highly by the same people.",
        "the same people also think highly of {e}, {w}.",
    ),
}
BOTH = (
    "you gave {e} a {r} and {f} a {q}, and {c} is another {G} film",
    "{e} got a {r} from you and {f} a {q}, both of them {G} films as is {c}",
    "you rated {e} a {r} and {f} a {q}, both {G} films, and {c} is one too",
    "{c} has {g} in common with both {e}, a {r} from you, and {f}, a {q}",
)
BOTH_LOW = (
    "you gave {e} only a {r} and {f} a {q}, and {c} is another {G} film",
    "{e} got only a {r} from you and {f} a {q}, both of them {G} films as is {c}",
    "you rated {e} just a {r} and {f} a {q}, both {G} films, and {c} is one too",
    "{c} has {g} in common with both {e}, just a {r} from you, and {f}, a {q}",
)
GOT = {
    "high": ("got a {r} from you", "was a {r} for you"),
    "low": ("got only a {r} from you", "was just a {r} for you"),
}

# For and against in one text.
FOR_AND_AGAINST = (
    "{first}, but {second}, so {verdict}.",
    "{first}; then again, {second}, so {verdict}.",
    "{verdict}: {first}, while {second}.",
    "{first}, though {second}; {verdict}.",
    "{first}; at the same time {second}: {verdict}.",
    "{verdict}; {first}, but {second}.",
)
AGAINST = {
    "g": (
        "{e}, another {G} film, {got}",
        "{e}, {aG} film too, {got}",
        "{e} is also {aG} film, {w}",
    ),
    "f": (
        "{e}, rated highly by the same people, {got}",
        "the same people think highly of {e}, {w}",
    ),
    "x": (
        "{e}, with other genres, {got}",
        "{e}, which differs in genre, {got}",
    ),
}
NEUTRAL = {
    "rate": (
        "{rate}, and {tie}, so {verdict}.",
        "{rate}; {tie}, so {verdict}.",
        "{rate} and {tie}: {verdict}.",
        "{verdict}: {rate}, and {tie}.",
        "{verdict}; {rate}, and {tie}.",
        "{rate}; {tie}, and {verdict}.",
    ),
    "link": (
        "{link}, so {verdict}.",
        "{link}; {verdict}.",
        "{verdict}: {link}.",
        "{verdict}; {link}.",
        "{link}, and {verdict}.",
    ),
}

WISH = {
    "wanted": (
        "you asked for {t}, and {c} has it",
        "{c} brings the {t} you asked for",
        "{c} answers your wish for {t}",
        "{c} is {at} film, as you asked",
    ),
    "avoided": (
        "you want to avoid {t}, and {c} has it",
        "{c} brings the {t} you want to avoid",
        "{c} is {at} film, which you want to avoid",
    ),
    "missing": (
        "you asked for {t}, and {c} lacks it",
        "{c} lacks the {t} you asked for",
        "{c} is without the {t} you asked for",
    ),
}
WISH_FRAMES = (
    "{wish}, so {verdict}.",
    "{verdict}: {wish}.",
    "{wish}: {verdict}.",
    "since {wish}, {verdict}.",
)
BARE = {
    "genre decade": (
        "{c} is {aG} film from the {d}",
        "{c} is a {d} film with {g}",
        "{c} offers {g} from the {d}",
    ),
    "genre": ("{c} is {aG} film", "{c} offers {g}", "{c} belongs to {g}"),
    "decade": ("{c} is a film from the {d}", "{c} comes from the {d}", "{c} was made in the {d}"),
}
BARE_FRAMES = (
    "{bare}, and {verdict}.",
    "{bare}: {verdict}.",
    "{verdict}: {bare}.",
    "{bare}; {verdict}.",
)
