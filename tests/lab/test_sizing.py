"""What is said of many people is what was measured of one, times their number."""

import numpy as np
import pytest
import torch

from ckf_demo.lab.bench.sizing import one, scaled, storage, times, weights
from ckf_demo.runtime.paths import store_path
from support.tiny import tiny_system

SYSTEM = tiny_system()


@pytest.fixture
def store(empty_cache):
    path = store_path("made-up")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * 15_000)


def test_bytes_are_those_of_the_things_themselves(store):
    rows = {row.name: row.value for row in storage(SYSTEM)}
    history = np.array([1, 2]), np.array([4.0, 5.0])
    embedding = SYSTEM.knowledge.pair_inputs(*history, np.array([2]), np.array([0]))[0][0]
    assert rows["embedding_bytes_per_user"] == embedding.nbytes
    pairs = SYSTEM.pairs(np.array([1, 2]), np.array([4.0, 5.0]), np.array([2]), np.array([3]))
    bridges = SYSTEM.fusion.bridges(pairs)
    assert rows["bridges_bytes_per_user"] == sum(b.nbytes for b in bridges)
    with torch.inference_mode():
        prefix = SYSTEM.engine.prefill(list(range(10, 20)))
    assert 10 * rows["prefix_cache_bytes_per_token"] == prefix.size
    assert rows["store_bytes_per_interaction"] == pytest.approx(10)


def test_the_parts_of_a_ranking_are_timed():
    rows = {row.name: row.value for row in (*weights(SYSTEM), *times(SYSTEM))}
    parts = ("candidate_stage", "fusion_of_all_pairs", "prefill", "branches")
    assert all(rows[f"seconds_{part}"] > 0 for part in parts)
    assert rows["seconds_per_ranking"] >= max(rows[f"seconds_{part}"] for part in parts)
    assert 0 < rows["bridges_share_of_ranking"] < 1
    assert rows["meta_network_parameters"] == sum(
        p.numel() for n, p in SYSTEM.fusion.named_parameters() if n.startswith("meta_")
    )


def test_many_people_are_one_times_many():
    names = (
        *("store_bytes_per_interaction", "interactions_per_user", "embedding_bytes_per_user"),
        *("bridges_bytes_per_user", "prefix_cache_bytes_per_user", "answer_bytes_per_user"),
        *("seconds_per_ranking", "seconds_candidate_stage", "seconds_prefill"),
        *("seconds_branches", "seconds_attention_and_bridges"),
    )
    rows = {r.name: r for r in scaled([one(n, 2.0, "") for n in names], 3_600_000_000)}
    assert rows["3,600,000,000 people, embeddings"].value == pytest.approx(7.2)
    assert rows["3,600,000,000 people, store"].value == pytest.approx(14.4)
    assert rows["3,600,000,000 people, a ranking each"].value == pytest.approx(2_000_000)
