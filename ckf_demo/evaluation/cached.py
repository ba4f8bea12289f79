"""Answers of a checkpoint, kept on disk piece by piece, so that an interrupted evaluation resumes.

A piece is named by the hash of everything that it depends on: the checkpoint's files, the data, the
method, the rows, the history cut and the tasks.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ckf_demo.data.ranking_queries import Query
from ckf_demo.metrics.protocol import EvalInstances
from ckf_demo.model.manifest import MANIFEST, manifest_text, unsealed
from ckf_demo.model.predict import score_candidates
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.caches import remembered
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import cache_dir, clear_leftovers

ROWS_AT_ONCE = 400
"""The fewest rows of a piece; a user's rows stay together, since they share a prefix."""

QUERIES_AT_ONCE = 10
EXPLAINED = "text evidence causes polarity rating draft sentences regenerated dropped".split()
"""What is kept of an explanation."""

STARS = np.arange(1, 6)

NOT_THE_MODEL = (
    "results.json methods.json field.json robustness.json ranks.json settings.json words.json "
    "reasons.json "
    "MODEL_CARD.md losses.csv"
).split()
"""Files of a checkpoint that say something about it without changing its answers."""


def checkpoint_hash(folder: Path) -> str:
    """SHA-256 over the names and contents of a checkpoint's files; UserError without any."""
    there = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    files = [path for path in there if path.name not in NOT_THE_MODEL]
    if not files:
        # all empty folders have the same hash, which would mix answers of different models
        raise UserError(f"No checkpoint at {folder}: it holds no files; name a folder with one.")
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        if path.name == MANIFEST:
            content = manifest_text(unsealed(json.loads(content))).encode()
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


class CachedModel:
    """A loaded checkpoint whose answers are remembered.

    ``folder`` is hashed; ``advance`` is called with the number of rows or queries done.
    """

    def __init__(
        self,
        recommender: Recommender,
        folder: Path,
        advance: Callable[[int], None] = lambda n: None,
    ):
        self.recommender, self.prepared, self.advance = recommender, recommender.prepared, advance
        self._identity = [checkpoint_hash(folder), self.prepared.hash]
        self._folder = cache_dir() / "evaluation" / self._identity[0][:16]
        clear_leftovers(self._folder)

    def scores(
        self, cases: EvalInstances, tasks: tuple[str, ...], method: str, *, alone: bool = False
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Expected rating (n,) in stars and CTR probability (n,); None for a task not asked.

        With ``alone``, those of the language model before they are pooled with the prior.
        """
        suffix = " alone" if alone else ""
        rating = np.empty(len(cases)) if "rating" in tasks else None
        ctr = np.empty(len(cases)) if "ctr" in tasks else None
        for positions in pieces(cases.users, ROWS_AT_ONCE):
            rows = cases.rows[positions]
            done: list[int] = []

            def advance(n: int, done: list[int] = done) -> None:
                done.append(n)
                self.advance(n)

            answer = remembered(
                self._file("scores", method, cases.k, tasks, alone, rows.tolist()),
                lambda rows=rows, advance=advance: self.recommender.score_rows(
                    rows, k=cases.k, tasks=tasks, method=method, progress=advance, alone=alone
                ),
            )
            if rating is not None:
                rating[positions] = answer[f"rating{suffix}"] @ STARS
            if ctr is not None:
                ctr[positions] = answer[f"ctr{suffix}"]
            self.advance(len(positions) - sum(done))
        return rating, ctr

    def rankings(self, queries: list[Query], method: str, candidates: int) -> list[np.ndarray]:
        """The candidates of each query (item indices), best first."""
        rankings: list[np.ndarray] = []
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            part = queries[start : start + QUERIES_AT_ONCE]
            users, at = [q.user for q in part], [q.at for q in part]

            def compute(users: list = users, at: list = at) -> dict[str, np.ndarray]:
                lists = self.recommender.rank_users(
                    np.array(users), np.array(at), k_candidates=candidates, method=method
                )
                return {str(i): np.asarray(ranked, np.int32) for i, ranked in enumerate(lists)}

            file = self._file("rankings", method, candidates, users, at)
            answer = remembered(file, compute)
            rankings += [answer[str(i)] for i in range(len(part))]
            self.advance(len(part))
        return rankings

    def candidate_scores(
        self, queries: list[Query], candidates: list[np.ndarray], task: str
    ) -> list[dict[str, np.ndarray]]:
        """Scores of given films for each query; see `ckf_demo.model.predict.score_candidates`.

        ``candidates`` are item indices (m,) for each query, ``task`` the question that scores them.
        """
        out: list[dict[str, np.ndarray]] = []
        pairs = list(zip(queries, candidates, strict=True))
        for start in range(0, len(pairs), QUERIES_AT_ONCE):
            part = pairs[start : start + QUERIES_AT_ONCE]
            identity = [[q.user, q.at, len(q.items), c.tolist()] for q, c in part]
            answer = remembered(
                self._file("candidates", task, identity),
                lambda part=part: {
                    f"{i} {kind}": values
                    for i, (query, films) in enumerate(part)
                    for kind, values in self._candidate_scores(query, films, task).items()
                },
            )
            kinds = {name.split(" ")[1] for name in answer}
            out += [{kind: answer[f"{i} {kind}"] for kind in kinds} for i in range(len(part))]
            self.advance(len(part))
        return out

    def _candidate_scores(self, query: Query, films: np.ndarray, task: str) -> dict:
        system = self.recommender.system
        profile = system.prepared.profile(query.user)
        return score_candidates(system, query.items, query.ratings, films, task, profile=profile)

    def explanation(self, row: int, *, summaries: bool = False) -> dict:
        """`EXPLAINED` of an interaction's item, for its user and at its moment."""
        pair = self._pair(row)

        def explained() -> dict:
            *_, last = self.recommender.explain(**pair, summaries=summaries)
            return {name: last[name] for name in EXPLAINED}

        return self.document(("explanation by causes", *pair.values(), summaries), explained)

    def removals(self, row: int) -> dict[str, float]:
        """How much each item of the shown history adds to the rating of an interaction's item.

        By id: the predicted rating minus that without the item, in stars.
        """
        pair = self._pair(row)

        def effects() -> dict:
            *_, last = self.recommender.counterfactuals.leave_one_out(**pair)
            return {film["item"]: film["effect"] for film in last["without"]}

        return self.document(("removals", *pair.values()), effects)

    def _pair(self, row: int) -> dict[str, Any]:
        """User, item and moment of an interaction, as the recommender's methods take them."""
        p = self.prepared
        user, item = p.user_ids[p.user[row]], p.item_ids[p.item[row]]
        return {"user": user, "item": item, "at": int(p.timestamp[row])}

    def document(self, parts: tuple, compute: Callable[[], dict]) -> dict:
        """A remembered answer that is no array."""

        def encoded() -> dict[str, np.ndarray]:
            return {"json": np.frombuffer(json.dumps(compute()).encode(), dtype=np.uint8)}

        answer = remembered(self._file(*parts), encoded)
        self.advance(1)
        return json.loads(answer["json"].tobytes())

    def _file(self, *parts: object) -> Path:
        text = json.dumps([*self._identity, *parts])
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()}.npz"


def pieces(users: np.ndarray, at_least: int) -> Iterator[np.ndarray]:
    """Positions in groups of at least so many rows; a user's rows stay in one group."""
    order = np.argsort(users, kind="stable")
    group: list[np.ndarray] = []
    for of_user in np.split(order, np.flatnonzero(np.diff(users[order])) + 1):
        group.append(of_user)
        if sum(map(len, group)) >= at_least:
            yield np.concatenate(group)
            group = []
    if group:
        yield np.concatenate(group)
