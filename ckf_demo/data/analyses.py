"""Ready-made analyses of the Data tab: SQL over the tables that free queries see.

`ckf_demo.data.free_sql` runs them as it runs what a visitor writes.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Analysis:
    """A ready-made query, with one sentence on what it shows.

    ``needs`` is a pair of tables and a condition. The analysis suits a data set in which some row
    of these tables meets the condition; without ``needs`` it suits every data set.
    """

    title: str
    about: str
    sql: str
    needs: tuple[str, str] | None = None


LONG_TAIL = Analysis(
    "Long tail of items",
    "How many percent of all ratings the most rated items have together, by percent of the "
    "catalogue.",
    """\
WITH counted AS (
    SELECT items.id, count(rating) AS n
    FROM items LEFT JOIN ratings ON item_id = items.id
    GROUP BY items.id
), ranked AS (
    SELECT n, row_number() OVER (ORDER BY n DESC) AS place, count(*) OVER () AS n_items
    FROM counted
)
SELECT ceil(100 * place / n_items)::INTEGER AS top_percent_of_items,
    round(100 * sum(sum(n)) OVER (ORDER BY top_percent_of_items)
        / (SELECT count(*) FROM ratings), 2) AS percent_of_ratings,
    min(n) AS ratings_of_the_last
FROM ranked
GROUP BY top_percent_of_items
ORDER BY top_percent_of_items""",
)
USER_GROUPS = Analysis(
    "Ratings per user",
    "How many users have how many ratings, in the bands of the cold-start metrics: before the "
    "split, and in all.",
    """\
WITH counted AS (
    SELECT users.id, count(rating) FILTER (part = 'train') AS before, count(rating) AS total
    FROM users LEFT JOIN ratings ON user_id = users.id
    GROUP BY users.id
), bands(low, high, band) AS (
    VALUES (0, 0, '0'), (1, 3, '1–3'), (4, 10, '4–10'), (11, 30, '11–30'),
        (31, 100, '31–100'), (101, NULL, '101+')
)
SELECT band,
    count(*) FILTER (before >= low AND before <= coalesce(high, before)) AS users_before_split,
    count(*) FILTER (total >= low AND total <= coalesce(high, total)) AS users_in_all
FROM bands, counted
GROUP BY band, low
ORDER BY low""",
)
DRIFT = Analysis(
    "Ratings over time",
    "The mean rating of each month (the share of likes where the data set has likes), with the "
    "number of ratings behind it.",
    """\
SELECT date_trunc('month', time)::DATE AS month,
    round(avg(rating), 3) AS mean_rating,
    count(*) AS ratings
FROM ratings
GROUP BY month
ORDER BY month""",
)
NEWCOMERS = Analysis(
    "Newcomers per month",
    "How many users gave their first rating in each month, and what percentage of that month’s "
    "ratings came from them.",
    """\
WITH firsts AS (
    SELECT user_id, date_trunc('month', min(time)) AS first_month FROM ratings GROUP BY user_id
)
SELECT date_trunc('month', time)::DATE AS month,
    count(DISTINCT user_id) FILTER (date_trunc('month', time) = first_month) AS newcomers,
    round(100 * avg((date_trunc('month', time) = first_month)::INTEGER), 1)
        AS percent_of_ratings_by_newcomers
FROM ratings JOIN firsts USING (user_id)
GROUP BY month
ORDER BY month""",
)
FIRST_RATINGS = Analysis(
    "What the first ratings tell",
    "How far the mean of a user’s first k ratings is from the mean of all theirs, over users with "
    "at least 20 ratings.",
    """\
WITH counted AS (
    SELECT min_by(rating, position, 20) AS firsts, avg(rating) AS mean_of_all
    FROM interactions
    GROUP BY user_position
    HAVING count(*) >= 20
)
SELECT k, round(avg(abs(list_avg(firsts[1:k]) - mean_of_all)), 4) AS mean_difference,
    count(*) AS users
FROM counted, range(1, 21) AS ks(k)
GROUP BY k
ORDER BY k""",
)
GENRES_BY_AGE = Analysis(
    "Genres by age",
    "What percentage of an age group’s ratings goes to films of each genre; a film counts for all "
    "its genres.",
    """\
WITH rated AS (
    SELECT age, genres FROM ratings JOIN users ON users.id = user_id
), totals AS (
    SELECT count(*) FILTER (age < 25) AS young,
        count(*) FILTER (age BETWEEN 25 AND 39) AS middle,
        count(*) FILTER (age >= 40) AS old
    FROM rated
)
SELECT genre,
    round(100 * count(*) FILTER (age < 25) / any_value(young), 1) AS percent_under_25,
    round(100 * count(*) FILTER (age BETWEEN 25 AND 39) / any_value(middle), 1)
        AS percent_25_to_39,
    round(100 * count(*) FILTER (age >= 40) / any_value(old), 1) AS percent_40_and_over
FROM (SELECT age, unnest(genres) AS genre FROM rated), totals
GROUP BY genre
ORDER BY count(*) DESC""",
    needs=("users, items", "age IS NOT NULL AND len(genres) > 0"),
)
RELEASE_YEARS = Analysis(
    "Ratings by year of release",
    "The number of ratings and their mean for films of each year of release.",
    """\
SELECT year, count(*) AS ratings, round(avg(rating), 3) AS mean_rating
FROM ratings
WHERE year IS NOT NULL
GROUP BY year
ORDER BY year""",
    needs=("items", "year IS NOT NULL"),
)
SPARSITY = Analysis(
    "Sparsity",
    "How much of the table of users and items is filled, in each part of the data and in all.",
    """\
SELECT coalesce(part, 'all') AS part,
    count(DISTINCT user_id) AS users,
    count(DISTINCT item_id) AS items,
    count(*) AS ratings,
    round(100 * count(*) / (count(DISTINCT user_id) * count(DISTINCT item_id)), 3)
        AS percent_filled
FROM ratings
GROUP BY ROLLUP (part)
ORDER BY ratings DESC""",
)
ANALYSES = (
    USER_GROUPS,
    LONG_TAIL,
    DRIFT,
    NEWCOMERS,
    FIRST_RATINGS,
    GENRES_BY_AGE,
    RELEASE_YEARS,
    SPARSITY,
)
"""All ready-made analyses; `InteractionStore.analyses` leaves out what does not suit the data."""
