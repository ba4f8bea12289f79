"""Ready-made analyses of the Data tab: SQL over the tables that free queries see.

`ckf_demo.data.free_sql` runs them as it runs what a visitor writes.
"""

from dataclasses import dataclass
from functools import cache

from ckf_demo.runtime.assets import asset


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


@cache
def all_analyses() -> tuple[Analysis, ...]:
    """All of ``assets/analyses.toml``; `InteractionStore.analyses` holds those that suit."""
    return tuple(
        Analysis(t["title"], t["about"], t["sql"], tuple(t["needs"]) if "needs" in t else None)
        for t in asset("analyses.toml")["analysis"]
    )
