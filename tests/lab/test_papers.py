"""The papers' own analyses: what is asked of whom, what counts, and the tables that come out."""

import json
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch

from ckf_demo.data.prepared import Prepared
from ckf_demo.data.ranking_queries import ranking_queries
from ckf_demo.data.splits import TEST, TRAIN, VALID
from ckf_demo.data.store import write_store
from ckf_demo.inference.predictor import Predictor
from ckf_demo.lab import favourite_genres, report
from ckf_demo.lab import forgetting as knowledge_kept
from ckf_demo.lab import popularity_strata as warmth
from ckf_demo.lab import sampled_ranking as sampled
from ckf_demo.lab.bench import methods as time_of_methods
from ckf_demo.lab.bench.report import methods_markdown
from ckf_demo.lab.favourites import favourite_genre, known_genres
from ckf_demo.metrics import metrics
from ckf_demo.metrics.protocol import item_tails
from ckf_demo.model.predict import score_candidates
from ckf_demo.recommender import Recommender
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path, store_path
from ckf_demo.tasks.prompts import window_start
from support.commands import expect_refused, rows_by, run_command, written
from support.synthetic import made_up
from support.tiny import TASKS, save_checkpoints, system_of, tiny_data

DATA = tiny_data()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Saved tiny checkpoints of three methods, with data and cache in a folder of their own."""
    folder = tmp_path_factory.mktemp("papers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        store_path(DATA.dataset).parent.mkdir(parents=True)
        write_store(DATA, store_path(DATA.dataset))
        DATA.save(prepared_path(DATA.dataset))
        methods = {"ckf": TASKS, "collm": ("rating", "ctr"), "cora": ("ctr",)}
        yield save_checkpoints(folder, methods, extra={"training": {"minutes": 1.5}})


# Candidates


@pytest.mark.parametrize("method", ["ckf", "text", "collm", "cora", "allmrec"])
def test_candidates_are_scored_as_the_recommender_orders_them(method, monkeypatch):
    system = system_of(method)
    query = ranking_queries(DATA, TEST)[0]
    # what a person rated already is answered without that rating
    films = np.setdiff1d(np.arange(DATA.n_items), query.items)[[3, 1, 8, 5]]
    profile = system.prepared.profile(query.user)
    found = score_candidates(system, query.items, query.ratings, films, "ranking", profile=profile)
    manifest = {"name": "tiny", "tasks": ["ranking"]}
    recommender = Recommender(Predictor(system, None, manifest), None)
    someone = {
        "history": [
            {"item": DATA.item_ids[i], "rating": float(r)}
            for i, r in zip(query.items, query.ratings, strict=True)
        ],
        "profile": {"age": 30, "gender": DATA.genders[query.user], "occupation": "writer"},
    }
    expected = recommender.score_candidates([DATA.item_ids[i] for i in films], **someone)
    np.testing.assert_allclose(found["own"], expected, rtol=1e-3, atol=1e-4)
    assert ("alone" in found) == (system.fusion.prior is not None)


def test_a_choice_is_one_liked_film_among_films_never_rated():
    cold, warm = item_tails(DATA)
    found = sampled.choices(DATA, TEST, seed=0)
    for group, cases in found.items():
        for case in cases:
            positive, *negatives = case.candidates
            assert positive in case.query.relevant
            rated = set(DATA.item[DATA.user == case.query.user])
            assert not rated & set(negatives)
            assert len(set(case.candidates)) == len(case.candidates) <= 1 + sampled.NEGATIVES
            assert group != "warm items" or warm[positive]
            assert group != "cold items" or cold[positive]
    assert len(found["all"]) == len(ranking_queries(DATA, TEST)) == len(found["cold users"])
    for case, cut in zip(found["all"], found["cold users"], strict=True):
        assert np.array_equal(case.candidates, cut.candidates)
        kept = case.query.items[-sampled.CUT :]
        assert np.array_equal(cut.query.items, kept)
    again = sampled.choices(DATA, TEST, seed=0)
    assert all(
        np.array_equal(a.candidates, b.candidates)
        for g in found
        for a, b in zip(found[g], again[g], strict=True)
    )


def test_tails_hold_their_share_of_items_with_fewest_and_most_ratings():
    cold, warm = item_tails(DATA)
    counts = np.bincount(DATA.item[DATA.split == TRAIN], minlength=DATA.n_items)
    assert counts[cold].max() < counts[warm].min()
    assert cold.mean() >= 0.35 and warm.mean() >= 0.35


def test_hit_at_1_of_checkpoints_and_baselines(checkpoints, tmp_path):
    folders = [checkpoints / "ckf", checkpoints / "collm"]
    found = written(sampled.measure, tmp_path / "sampled.json", folders, limit=6, resamples=20)
    assert found["asked"] == {"ckf": "ranking", "collm": "ctr"}
    cells = rows_by(found, "method", "task", "metric", "group")
    for name in ("ckf", "collm", "popularity", "candidate stage", "ckf's language model alone"):
        assert cells[name, "sampled", "hit@1", "all"]["n"] == 6
        assert 0 <= cells[name, "sampled", "hit@1", "cold users"]["value"] <= 1
    assert ("ckf", "ranking", "ndcg@10", "all") in cells
    assert ("collm", "ranking", "ndcg@10", "all") not in cells
    for other in ("popularity", "candidate stage", "ckf", "ckf's language model alone"):
        assert (f"collm - {other}", "sampled", "hit@1", "all") in cells
    with patch("ckf_demo.evaluation.cached.score_candidates", None):
        assert sampled.measure(folders, limit=6, resamples=20) == found
    text = report.markdown(found)
    assert "by CTR: collm" in text
    assert "| popularity |" in text


def test_without_the_catalogue_it_is_not_ranked(checkpoints):
    found = sampled.measure([checkpoints / "ckf"], limit=3, resamples=5, catalogue=False)
    assert {r["task"] for r in found["rows"]} == {"sampled"}


def test_an_unknown_split_is_one_clear_message(checkpoints):
    for measure in (sampled.measure, favourite_genres.measure):
        with pytest.raises(UserError, match="valid, test"):
            measure([checkpoints / "ckf"], split="training")


# Knowledge kept


def test_what_was_known_is_measured_before_and_after(checkpoints, tmp_path):
    folders = [checkpoints / name for name in ("ckf", "collm", "cora")]
    file = tmp_path / "kept.json"
    found = written(knowledge_kept.measure, file, folders, limit=4, resamples=20)
    names = [way["method"] for way in found["ways"]]
    assert names[:2] == ["backbone", "ckf, shared adapter"]
    assert names[-3] == "collm, shared adapter"
    assert names[-2:] == ["cora, mean update", "cora, updates of single pairs"]
    cells = rows_by(found, "method", "metric")
    for name in names:
        assert cells[name, "nats_per_token"]["value"] > 0
        assert cells[name, "accuracy"]["n"] == 4
    value = cells["collm, shared adapter", "nats_per_token"]["value"]
    before = cells["backbone", "nats_per_token"]["value"]
    change = cells["collm, shared adapter - backbone", "nats_per_token"]
    assert change["value"] == pytest.approx(value - before, abs=2e-6)
    assert "cora" in report.markdown(found)


# Cold and warm


def predictions_of(data: Prepared, methods=("ckf", "item mean")) -> pd.DataFrame:
    rng, rows = np.random.default_rng(0), data.rows(split=VALID)
    names = {
        "user": [data.user_ids[u] for u in data.user[rows]],
        "item": [data.item_ids[i] for i in data.item[rows]],
    }
    pairs, parts = pd.DataFrame(names | {"label": data.liked[rows].astype(np.float32)}), []
    for noise, method in enumerate(methods):
        for task in ("rating", "ctr"):
            score = data.liked[rows] + (0.5 + noise) * rng.normal(size=len(rows))
            score = (1 / (1 + np.exp(-score))).astype(np.float32)
            parts.append(pairs.assign(method=method, score=score, task=task))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def predictions(tmp_path, empty_cache):
    DATA.save(prepared_path(DATA.dataset))
    path = tmp_path / "valid.parquet"
    predictions_of(DATA).to_parquet(path, index=False)
    return path


def test_groups_are_those_of_the_training_part(predictions, tmp_path, monkeypatch):
    monkeypatch.setattr(warmth, "FEWEST_USERS", 1)
    file = tmp_path / "warmth.json"
    found = written(warmth.measure, file, [predictions], DATA.dataset, resamples=20)
    cells = rows_by(found, "method", "metric", "group")
    rows, train = DATA.rows(split=VALID), DATA.split == TRAIN
    frame = pd.read_parquet(predictions)
    own = frame[(frame.method == "ckf") & (frame.task == "ctr")]
    counts = np.bincount(DATA.user[train], minlength=DATA.n_users)[DATA.user[rows]]
    for group, mask in (
        ("all", np.ones(len(rows), bool)),
        ("users 0", counts == 0),
        ("cold items", item_tails(DATA)[0][DATA.item[rows]]),
    ):
        row = cells["ckf", "auc", group]
        assert row["n"] == mask.sum() > 0
        expected = metrics.auc(own.label.to_numpy()[mask], own.score.to_numpy()[mask])
        assert row["value"] == pytest.approx(expected, abs=1e-6)
    difference = cells["ckf - item mean", "auc", "all"]
    assert difference["low"] <= difference["value"] <= difference["high"]
    assert "AUC on made-up" in report.markdown(found)


def test_groups_of_few_people_are_left_out(predictions, monkeypatch):
    rows = DATA.rows(split=VALID)
    groups = warmth.warmth_groups(DATA, DATA.user[rows], DATA.item[rows])
    sizes = {name: len(np.unique(DATA.user[rows][mask])) for name, mask in groups.items()}
    monkeypatch.setattr(warmth, "FEWEST_USERS", max(sizes.values()))
    found = warmth.measure([predictions], DATA.dataset, resamples=5)
    kept = {name for name, size in sizes.items() if size == max(sizes.values())}
    assert {row["group"] for row in found["rows"]} == kept < set(sizes)


def test_groups_of_one_kind_share_all_rows_out():
    rows = DATA.rows(split=VALID)
    groups = warmth.warmth_groups(DATA, DATA.user[rows], DATA.item[rows])
    for kind in ("items", "users"):
        bands = [mask for name, mask in groups.items() if name.startswith(f"{kind} ")]
        assert np.array_equal(np.sum(bands, axis=0), np.ones(len(rows)))
    assert not (groups["cold items"] & groups["warm items"]).any()


def test_predictions_of_several_files_are_held_beside_each_other(predictions, tmp_path):
    other = tmp_path / "other.parquet"
    frame = predictions_of(DATA, ("ckf", "collm"))
    frame.to_parquet(other, index=False)
    found = warmth.measure([predictions, other], DATA.dataset, "collm", ["ckf"], resamples=5)
    assert {r["method"] for r in found["rows"]} == {"collm", "ckf", "collm - ckf"}


def test_pairs_that_stand_twice_are_told_apart(tmp_path, monkeypatch):
    data = made_up(n=300)
    rows = data.rows(split=VALID)
    data.user[rows[-1]], data.item[rows[-1]] = data.user[rows[0]], data.item[rows[0]]
    data.rating[rows[0]], data.rating[rows[-1]] = 1.0, 5.0
    frame = predictions_of(data)
    frame = frame[frame.task == "ctr"].reset_index(drop=True)
    assert np.array_equal(warmth.located(frame, data), np.tile(rows, 2))


def test_what_does_not_fit_is_one_clear_message(predictions, tmp_path):
    frame = pd.read_parquet(predictions)
    for message, bad in {
        "no interaction": frame.assign(item=frame.item.iloc[::-1].to_numpy()),
        "labels": frame.assign(label=1 - frame.label),
        "users or items": frame.assign(user="nobody"),
        "same rows": frame[(frame.method == "ckf") | (frame.index % 2 == 0)],
        "no CTR": frame[frame.task == "rating"],
        "no column": frame.drop(columns="score"),
    }.items():
        path = tmp_path / "bad.parquet"
        bad.to_parquet(path, index=False)
        with pytest.raises(UserError, match=message):
            warmth.measure([path], DATA.dataset, resamples=5)
    with pytest.raises(UserError, match="is not a file"):
        warmth.measure([tmp_path / "none.parquet"], DATA.dataset)
    with pytest.raises(UserError, match="No predictions of 'cora'"):
        warmth.measure([predictions], DATA.dataset, "cora")


# Favourite genres


@pytest.mark.parametrize("method", ["ckf", "collm", "allmrec"])
def test_a_favourite_genre_is_asked_with_tokens_and_without(method):
    system, query = system_of(method), ranking_queries(DATA, VALID)[0]
    asked = {
        name: favourite_genre(system, query.items, query.ratings, **options).genres
        for name, options in favourite_genres.settings(system).items()
    }
    assert len({round(own["Drama"], 6) for own in asked.values()}) == len(asked)
    for own in asked.values():
        assert list(own) == known_genres(system)
        assert sum(own.values()) == pytest.approx(1.0, abs=1e-5)


def test_without_titles_and_tokens_nobody_is_known():
    system, (one, other) = system_of("ckf"), ranking_queries(DATA, VALID)[:2]
    plain = {"tokens": False, "titles": False}
    first, second = (favourite_genre(system, q.items, q.ratings, **plain) for q in (one, other))
    assert first == second
    tokens = {"titles": False}
    first, second = (favourite_genre(system, q.items, q.ratings, **tokens) for q in (one, other))
    assert first.genres != second.genres
    beside = first.beside(second)
    assert beside["Drama"] == pytest.approx(first.genres["Drama"] / second.genres["Drama"])
    assert first.genre == max(first.genres, key=first.genres.get)


def test_probabilities_are_those_of_the_genres_names():
    system, query = system_of("allmrec"), ranking_queries(DATA, VALID)[0]
    found = favourite_genre(system, query.items, query.ratings, tokens=False, write=True)
    tokens = system.writer.tokens
    start = window_start(len(query.items), system.config.prompt)
    shown = query.items[start:], query.ratings[start:]
    prefix = system.writer.prefix(*shown, with_tokens=False).ids
    text = [*prefix, *tokens("Viewer"), *tokens("'s favourite film genre is")]
    expected, engine = [], system.engine
    for genre in known_genres(system):
        ids = [*text, *tokens(f" {genre}")]
        with torch.no_grad():
            out = engine.model.model(inputs_embeds=engine._embed_ids(ids)[None])
            logits = engine.logits(out.last_hidden_state[0])
        following = torch.tensor(ids)[1:, None]
        own = logits.log_softmax(-1)[:-1].gather(1, following)[len(text) - 1 :].sum()
        expected.append(float(own))
    expected = torch.tensor(expected).softmax(0).tolist()
    assert list(found.genres.values()) == pytest.approx(expected, rel=1e-2)
    assert isinstance(found.text, str)


def test_methods_without_a_persons_token_say_so():
    for method in ("cora", "text"):
        with pytest.raises(UserError, match="no token"):
            favourite_genre(system_of(method), [1], [5.0])


def test_favourites_are_the_most_frequent_genres_of_liked_films():
    for person in favourite_genres.people(DATA, VALID, None, 0):
        liked = person.query.items[person.query.ratings >= 4]
        names = [g for i in liked for g in DATA.genres[i]]
        most = max(map(names.count, names))
        assert person.right == {g for g in names if names.count(g) == most}
        assert len(liked) >= favourite_genres.LIKES


def test_shares_of_named_favourites_stand_beside_chance(checkpoints, tmp_path):
    folders = [checkpoints / "collm", checkpoints / "cora"]
    file = tmp_path / "genres.json"
    found = written(favourite_genres.measure, file, folders, limit=5, resamples=10)
    assert found["genres"] == 2
    cells = rows_by(found, "method", "group")
    assert cells["most popular genre", "all"]["n"] == 5
    assert "collm: tokens, shared adapter" in {m for m, _ in cells}
    asked = {m for m, _ in cells if m.startswith("cora: ") and " - " not in m}
    assert asked == {"cora: titles", "cora: titles, against an empty history"}
    assert "Favourite genre among 2" in report.markdown(found)


# Time


def test_time_is_measured_for_every_method_beside_the_first(checkpoints):
    systems = {name: system_of(name) for name in ("ckf", "cora")}
    rows = list(time_of_methods.answering(systems, rounds=2))
    values = {row.name: row.value for row in rows}
    for name in systems:
        for what in ("rows_100", "ranking_100"):
            assert values[f"methods_{name}_{what}_seconds"] > 0
    assert "methods_cora_ranking_100_vs_ckf" in values
    folders = time_of_methods.siblings(checkpoints / "collm")
    assert [folder.name for folder in folders] == ["collm", "ckf", "cora"]
    minutes = next(iter(time_of_methods.training_minutes(checkpoints / "ckf")))
    assert (minutes.value, minutes.unit) == (1.5, "min")
    machine = {"bf16_instructions": [], "versions": {"torch": "2"}, "processor": "p"}
    machine |= {"threads": 1, "memory_gib": 1, "quantization": "nf4"}
    rows = [vars(row) for row in [*rows, minutes]]
    table = methods_markdown({"machine": machine, "rounds": 2, "checkpoint": "ckf", "rows": rows})
    assert "| ckf | 1.5 | " in table
    assert "| cora | – | " in table


def test_timed_rows_are_of_validation_and_of_people_with_histories():
    rows = time_of_methods.hundred_rows(DATA)
    assert (DATA.split[rows] == VALID).all()
    assert len(rows) == len(set(rows.tolist())) <= time_of_methods.ROWS
    assert np.unique(DATA.user[rows], return_counts=True)[1].max() <= time_of_methods.PER_PERSON
    people = time_of_methods.some_people(DATA)
    lengths = [len(query.items) for query, _ in people]
    assert len(people) == time_of_methods.PEOPLE and lengths == sorted(lengths)
    for query, films in people:
        assert len(query.items) and not set(films) & set(query.items)


# Commands


@pytest.mark.parametrize("module", [knowledge_kept, sampled, favourite_genres])
def test_commands_print_tables_and_mend_mistakes(module, checkpoints, tmp_path):
    file = tmp_path / "out.json"
    arguments = ["--checkpoint", checkpoints / "collm", "--limit", "3", "--json", file]
    ran = run_command(module.main, *arguments)
    assert ran.exit_code == 0, ran.output
    assert "collm" in ran.output
    assert json.loads(file.read_text())["analysis"] in report.ANALYSES
    expect_refused("No checkpoint at", module.main, "--checkpoint", tmp_path / "none")


def test_the_command_for_stored_predictions(predictions, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    ran = run_command(warmth.main, predictions, "--dataset", DATA.dataset)
    assert ran.exit_code == 0, ran.output
    assert "item mean" in ran.output
    expect_refused("is not a file", warmth.main, tmp_path / "none.parquet")
