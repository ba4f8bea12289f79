"""Sixty general questions with four choices each, to test what a language model still knows.

They were written for this project: capitals, places, sums, opposites, categories and plain facts. A
choice continues the text; the four of a question are of one kind, so that none stands out.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """``text`` is continued by one of four ``choices``, the first of which is right."""

    text: str
    choices: tuple[str, ...]


_TABLE = """
The capital of France is | Paris, Rome, Madrid, Vienna
The capital of Italy is | Rome, Paris, Athens, Lisbon
The capital of Japan is | Tokyo, Beijing, Seoul, Bangkok
The capital of Russia is | Moscow, Warsaw, Kiev, Prague
The capital of Spain is | Madrid, Berlin, London, Oslo
The capital of Egypt is | Cairo, Nairobi, Tehran, Baghdad
The capital of Germany is | Berlin, Munich, Zurich, Vienna
The capital of Greece is | Athens, Istanbul, Cairo, Budapest
The Eiffel Tower stands in the country of | France, Germany, Brazil, Canada
The river Nile flows through | Egypt, Norway, Mexico, Korea
Mount Everest is a mountain in | Asia, Europe, Africa, America
The Great Wall was built in | China, India, Peru, Iran
The Sahara is a very large | desert, ocean, forest, city
The largest ocean of the Earth is the | Pacific, Atlantic, Indian, Arctic
Kangaroos live in | Australia, Canada, Russia, France
The Amazon rainforest is mostly in | Brazil, Spain, China, Egypt
Two plus two equals | four, five, seven, nine
Three plus five equals | eight, six, nine, eleven
Ten minus four equals | six, three, eight, two
Two times three equals | six, nine, four, ten
Half of ten is | five, three, eight, two
One, two, three, four, | five, nine, two, eight
Ten, twenty, thirty, | forty, sixty, ten, ninety
A triangle has this number of sides: | three, five, eight, two
A dozen means | twelve, seven, twenty, five
A week has this number of days: | seven, five, nine, twelve
The opposite of hot is | cold, tall, green, loud
The opposite of up is | down, fast, old, wet
The opposite of big is | small, heavy, red, warm
The opposite of day is | night, year, summer, noon
The opposite of happy is | sad, tall, quick, blue
The opposite of open is | closed, long, bright, soft
The opposite of black is | white, thin, early, sweet
The opposite of early is | late, small, hard, dry
A dog is an | animal, island, engine, hour
A rose is a kind of | flower, metal, bird, ship
A sparrow is a kind of | bird, fish, tree, stone
Salmon and trout are kinds of | fish, birds, flowers, tools
An oak is a kind of | tree, bird, song, cloud
Iron and copper are | metals, fruits, animals, languages
Apples and pears are | fruits, metals, insects, colours
A violin is a musical | instrument, animal, building, season
Ice is frozen | water, iron, sand, smoke
Bees make | honey, milk, wool, glass
Cows give | milk, honey, silk, salt
Wool comes from | sheep, fish, birds, trees
The Earth goes around the | Sun, Moon, river, wind
At night we can see the moon and the | stars, fish, bread, shoes
Water boils when it is very | hot, quiet, dark, young
The heart pumps | blood, sand, light, paper
We see with our | eyes, knees, ears, teeth
We hear with our | ears, hands, eyes, hair
Birds fly with their | wings, roots, wheels, leaves
Plants need sunlight and | water, shoes, music, smoke
The first month of the year is | January, May, August, December
The day after Monday is | Tuesday, Friday, Sunday, Saturday
The coldest season of the year is | winter, summer, spring, autumn
Romeo and Juliet was written by William | Shakespeare, Newton, Columbus, Mozart
The theory of relativity is due to Albert | Einstein, Shakespeare, Picasso, Caesar
The first President of the United States was George | Washington, Lincoln, Napoleon, Darwin
"""

QUESTIONS: tuple[Question, ...] = tuple(
    Question(text, tuple(choices.split(", ")))
    for text, choices in (line.split(" | ") for line in _TABLE.strip().splitlines())
)
