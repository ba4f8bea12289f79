"""Training on a tiny problem: what sequences show, resuming, and what checkpoints refuse."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from ckf_demo.backbone.loading import dense_precision
from ckf_demo.collaborative.knowledge import CollaborativeKnowledge
from ckf_demo.config import RunConfig
from ckf_demo.data.ranking_queries import ranking_queries
from ckf_demo.data.splits import VALID
from ckf_demo.fusion.ckf import STEEPNESS
from ckf_demo.lab.ablation import ALONE, PARTS, POOLED, measure
from ckf_demo.lab.bench import llamacpp, report
from ckf_demo.lab.bench.run import MEASUREMENTS, bench
from ckf_demo.model.predict import score_rows
from ckf_demo.model.system import System, read_manifest
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.paths import prepared_path
from ckf_demo.training import loop, ranking_stage
from ckf_demo.training.loop import (
    Run,
    rate_factor,
    selection_loss,
    sequence_losses,
    sequence_losses_of,
    text_probability,
    train,
)
from ckf_demo.training.ranking_stage import WEIGHTS, Choice, asked_queries, ndcg
from ckf_demo.training.sequences import PackedSequence, Packer, segments_of
from support.synthetic import made_up, made_up_likes
from support.tiny import (
    save_backbone,
    tiny_config,
    tiny_data,
    tiny_knowledge,
    tiny_system,
    write_config,
)

DATA = tiny_data()
MOMENT = {(u, v): t for u, v, t in zip(DATA.user, DATA.item, DATA.timestamp, strict=True)}
STARS = {(u, v): r for u, v, r in zip(DATA.user, DATA.item, DATA.rating, strict=True)}
SYSTEM = tiny_system()
CONFIG = SYSTEM.config
SEGMENTS = segments_of(DATA, DATA.learning_rows(), CONFIG.prompt)
PACKER = Packer(
    DATA,
    CONFIG.train,
    CONFIG.prompt,
    SYSTEM.knowledge,
    lambda a, b: (int(a) + int(b)) % 3 == 0,
)


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    """An own cache with the made-up data, a tiny backbone, and a place for checkpoints."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(CollaborativeKnowledge, "fit", lambda prepared, seed=0: tiny_knowledge())
    DATA.save(prepared_path("made-up"))
    save_backbone(tmp_path / "backbone")
    return tmp_path


def config_for(workplace: Path, **changes) -> RunConfig:
    return tiny_config(workplace / "backbone", **changes)


# What a sequence shows


def shown_to(prefix_ids: list[int], at: int) -> list[tuple[int, float]]:
    """(item, stars) of the history lines among the first ``at`` tokens."""
    text = SYSTEM.writer.tokenizer.decode(prefix_ids[:at])
    lines = re.findall(r"^([\d.]+) Film (\d+)$", text, re.MULTILINE)
    assert text.endswith("\n")
    return [(int(item) - 1, float(stars)) for stars, item in lines]


@pytest.fixture
def passes(monkeypatch) -> list[tuple]:
    """What the engine is given: (prefix ids, branches, slots) of every pass."""
    seen, forward = [], SYSTEM.engine.forward

    def record(prefix_ids, branches, slots, **options):
        seen.append((prefix_ids, branches, slots))
        return forward(prefix_ids, branches, slots, **options)

    monkeypatch.setattr(SYSTEM.engine, "forward", record)
    return seen


def moments(user: int, sequence: PackedSequence) -> list[int]:
    """When each question is asked: the time of its target, or of its group's chosen film."""
    out, group = [], CONFIG.train.negatives + 1
    asked = [q for q in sequence.questions if q.task == "ranking"]
    for question in sequence.questions:
        item = question.item
        if question.task == "ranking":
            place = next(i for i, q in enumerate(asked) if q is question)
            item = asked[place - place % group].item
        out.append(MOMENT[user, item])
    return out


@settings(max_examples=25, deadline=None)
@given(st.integers(0, len(SEGMENTS) - 1), st.integers(0, 10_000), st.booleans())
def test_no_question_sees_its_own_moment_or_anything_later(place, seed, augment):
    segment = SEGMENTS[place]
    sequence = PACKER.draw(segment, np.random.default_rng(seed), text_only=False, augment=augment)
    prefix = SYSTEM.writer.prefix(
        sequence.items[sequence.shown_from :], sequence.ratings[sequence.shown_from :]
    )
    for question, moment in zip(sequence.questions, moments(segment.user, sequence), strict=True):
        visible = sequence.items[: question.length]
        assert question.item not in visible
        assert all(MOMENT[segment.user, item] < moment for item in visible)
        shown = shown_to(prefix.ids, prefix.ends[question.length - sequence.shown_from])
        assert [item for item, _ in shown] == list(visible[sequence.shown_from :])
        assert len(shown) <= CONFIG.prompt.window
        assert all(STARS[segment.user, item] == stars for item, stars in shown)
        if question.task in ("rating", "ctr", "explanation"):
            assert question.stars == STARS[segment.user, question.item]
        named = re.findall(r"Film (\d+)", question.facts + question.text)
        known = {item for item, _ in shown} | {question.item}
        assert {int(n) - 1 for n in named} <= known


@settings(max_examples=20, deadline=None)
@given(st.integers(0, len(SEGMENTS) - 1), st.integers(0, 10_000))
def test_taste_and_features_are_of_the_past(place, seed):
    """Other ratings at and after the first target's moment leave all but the answers unchanged."""
    segment = SEGMENTS[place]
    sequence = PACKER.draw(segment, np.random.default_rng(seed), text_only=False, augment=True)
    first = min(moments(segment.user, sequence), default=0)
    later = (DATA.user == segment.user) & (DATA.timestamp >= first)
    changed = {**vars(DATA), "rating": np.where(later, 6 - DATA.rating, DATA.rating)}
    other = Packer(
        type(DATA)(**{k: changed[k] for k in DATA.__dataclass_fields__}),
        CONFIG.train.model_copy(update={"tasks": ("rating", "ctr")}),
        CONFIG.prompt,
        PACKER.knowledge,
        PACKER.liked_together,
    )
    again = other.draw(segment, np.random.default_rng(seed), text_only=False, augment=True)
    assert again.taste == sequence.taste
    assert again.profile == sequence.profile
    earliest = min(q.length for q in sequence.questions)
    np.testing.assert_array_equal(again.ratings[:earliest], sequence.ratings[:earliest])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, len(SEGMENTS) - 1), st.integers(0, 10_000))
def test_ranking_puts_one_liked_film_against_unseen_ones(place, seed):
    segment = SEGMENTS[place]
    sequence = PACKER.draw(segment, np.random.default_rng(seed), text_only=False, augment=True)
    asked = [q for q in sequence.questions if q.task == "ranking"]
    group = CONFIG.train.negatives + 1
    assert len(asked) % group == 0
    own = DATA.history.rows_of(segment.user)
    rated = set(DATA.item[own[DATA.split[own] == 0]])
    for start in range(0, len(asked), group):
        chosen, *others = asked[start : start + group]
        assert STARS[segment.user, chosen.item] >= 4
        assert not rated & {q.item for q in others}
        assert len({q.item for q in asked[start : start + group]}) == group
        assert {q.length for q in others} == {chosen.length}


def draws(n: int, **options) -> list[PackedSequence]:
    rng = np.random.default_rng(0)
    options = {"text_only": False, "augment": True, **options}
    return [PACKER.draw(SEGMENTS[i % len(SEGMENTS)], rng, **options) for i in range(n)]


def test_anything_may_be_missing_from_a_training_sequence():
    sequences = draws(200)
    assert {bool(s.profile) for s in sequences} == {True, False}
    assert {bool(s.taste) for s in sequences} == {True, False}
    assert {len(s.items) for s in sequences} >= {0, 1, 3}
    assert {q.hide_title for s in sequences for q in s.questions} == {True, False}
    assert all(len({q.item for q in s.questions if q.task == "ctr"}) <= 4 for s in sequences)


def test_validation_sequences_hide_nothing():
    for sequence in draws(60, augment=False):
        assert sequence.profile.startswith("30, ")
        assert not any(q.hide_title for q in sequence.questions)


def test_tokens_are_in_collaborative_prompts_only(passes):
    for text_only in (True, False):
        for sequence in draws(6, text_only=text_only):
            sequence_losses(SYSTEM, sequence)
    for prefix_ids, _, _ in passes:
        assert SYSTEM.writer.tokenizer.eos_token_id not in prefix_ids
    for _, branches, slots in passes[:6]:
        assert all(own is None for own in slots)
        assert not any(branch.slots for branch in branches)
    for _, branches, slots in passes[6:]:
        assert all(own.shape == (2, 32) for own in slots)
        assert all(len(branch.slots) == 2 for branch in branches)


def test_text_only_losses_know_nothing_of_the_fusion():
    sequence = draws(1, text_only=True)[0]
    losses = sequence_losses(SYSTEM, sequence)
    sum(losses.values()).backward()
    try:
        assert all(p.grad is None for p in SYSTEM.fusion.parameters())
        assert any(p.grad is not None for p in SYSTEM.lora.adapter_parameters())
    finally:
        SYSTEM.lora.zero_grad(set_to_none=True)


def test_a_packed_sequence_is_the_sum_of_its_questions():
    sequence = next(s for s in draws(30) if len(s.questions) > 8)
    with torch.no_grad():
        losses = sequence_losses(SYSTEM, sequence)
    assert losses.keys() == {"rating", "ctr", "ranking", "explanation"}
    for task in ("rating", "ctr"):
        own = [q for q in sequence.questions if q.task == task]
        with torch.no_grad():
            single = [
                sequence_losses(SYSTEM, PackedSequence(**{**vars(sequence), "questions": [q]}))[
                    task
                ].item()
                for q in own
            ]
        assert losses[task].item() == pytest.approx(np.mean(single), rel=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, len(SEGMENTS) - 1), st.integers(0, 10_000))
def test_wordings_speak_of_what_had_been_rated_before_them(place, seed):
    segment = SEGMENTS[place]
    sequence = PACKER.draw_wordings(segment, np.random.default_rng(seed), 4)
    assert len(sequence.questions) == 4
    assert 0 <= sequence.shown_from <= len(sequence.items)
    begins = min(MOMENT[segment.user, DATA.item[row]] for row in segment.rows)
    ends = max(MOMENT[segment.user, DATA.item[row]] for row in segment.rows)
    known = [MOMENT[segment.user, item] for item in sequence.items]
    assert known == sorted(known)
    assert not known or known[-1] < ends
    own = DATA.history.rows_of(segment.user)
    hidden = set(DATA.item[own[DATA.split[own] != 0]])
    for question in sequence.questions:
        assert question.task == "explanation"
        assert question.length == len(sequence.items)
        assert question.item not in set(sequence.items) | hidden
        assert MOMENT.get((segment.user, question.item), ends) >= begins
        assert question.facts.startswith("Ties: ")
        assert question.text


def test_middling_verdicts_are_worded_most():
    rng = np.random.default_rng(0)
    texts = [
        q.facts for i in range(60) for q in PACKER.draw_wordings(SEGMENTS[i % 5], rng, 4).questions
    ]
    shares = {v: np.mean([f"Verdict: {v}." in t for t in texts]) for v in ("good", "mixed", "poor")}
    assert shares["mixed"] == pytest.approx(0.5, abs=0.12)
    assert shares["good"] > 0.1
    assert shares["poor"] > 0.1


def test_teaching_asks_the_language_model_by_itself():
    """With all weight on the prior its own answer gets no gradient unless it is taught."""
    sequence = draws(1)[0]
    with torch.no_grad():
        before = {k: v.clone() for k, v in SYSTEM.fusion.trust.items()}
        for weight in SYSTEM.fusion.trust.values():
            weight.fill_(-1e3)
    try:
        for teach in (False, True):
            losses = sequence_losses(SYSTEM, sequence, teach=teach)
            sum(losses[t] for t in ("rating", "ctr")).backward()
            grads = [p.grad for p in SYSTEM.fusion.project_item.parameters()]
            assert any(g is not None and g.abs().sum() > 0 for g in grads) == teach
            SYSTEM.lora.zero_grad(set_to_none=True)
            SYSTEM.fusion.zero_grad(set_to_none=True)
    finally:
        with torch.no_grad():
            for k, v in before.items():
                SYSTEM.fusion.trust[k].copy_(v)


# The curriculum and the loop


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_curriculum_goes_from_text_to_collaborative_prompts(one, other):
    earlier, later = sorted((text_probability(x, CONFIG.train) for x in (one, other)), reverse=True)
    low, high = sorted((one, other))
    assert text_probability(low, CONFIG.train) == earlier
    assert text_probability(high, CONFIG.train) == later
    assert CONFIG.train.text_share <= later <= earlier <= 1


def test_the_curriculum_and_the_rate_at_their_marks():
    config = CONFIG.train
    assert text_probability(0, config) > 0.9
    assert text_probability(config.curriculum_middle, config) == pytest.approx(0.5)
    assert text_probability(1, config) == config.text_share
    assert rate_factor(0, config) == 0
    assert rate_factor(config.warmup, config) == pytest.approx(1)
    assert rate_factor(1, config) == pytest.approx(0.05)
    rates = [rate_factor(x, config) for x in np.linspace(config.warmup, 1, 20)]
    assert rates == sorted(rates, reverse=True)


def test_losses_are_finite_and_go_down(workplace, monkeypatch):
    """On a few ratings of one person, which are soon learnt by heart."""
    rates = {"adapter_rate": 0.01, "fusion_rate": 0.01, "steps": 30, "accumulate": 1}
    run = Run(config_for(workplace, train=rates), DATA)
    segment = next(s for s in run.segments if len(s.rows) >= 3)
    monkeypatch.setattr(run, "segment", lambda step: (segment, np.random.default_rng(step)))
    rng = np.random.default_rng(0)
    sequences = [run.packer.draw(segment, rng, text_only=False, augment=False) for _ in range(3)]

    def losses() -> dict[str, float]:
        by_task = sequence_losses_of(run.system, sequences)
        return {task: float(np.nanmean(values)) for task, values in by_task.items()}

    before = losses()
    for _ in range(30):
        assert all(math.isfinite(x) for x in run.train_step().values())
    after = losses()
    assert all(math.isfinite(x) for x in after.values())
    assert after["explanation"] < before["explanation"] - 0.3
    assert selection_loss(after) < selection_loss(before)


def test_the_prior_is_fitted_first_and_then_held(workplace):
    run = Run(config_for(workplace), DATA)
    assert set(run.prior) == {"rating", "ctr", "rmse"}
    held = {k: v.clone() for k, v in run.system.fusion.prior.state_dict().items()}
    assert any(v.any() for v in held.values())
    for _ in range(4):
        run.train_step()
    assert all(torch.equal(v, held[k]) for k, v in run.system.fusion.prior.state_dict().items())
    assert not any(p.requires_grad for p in run.system.fusion.prior.parameters())


def weights(run: Run) -> list[torch.Tensor]:
    return [p.detach().clone() for kind in run.system.trainable().values() for p in kind]


def assert_same(one: list[torch.Tensor], other: list[torch.Tensor]) -> None:
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_resumed_run_ends_as_an_uninterrupted_one(workplace, monkeypatch):
    monkeypatch.setattr(Run, "calibrate", lambda self: None)  # it goes back to the best weights
    config = config_for(workplace)
    whole = Run(config, DATA)
    whole.run()
    interrupted = Run(config, DATA)
    for _ in range(4):
        interrupted.train_step()
    interrupted.save_state()
    interrupted.train_step()  # lost: it was not saved
    resumed = Run(config, DATA)
    resumed.resume()
    assert resumed.step == 4
    resumed.run()
    assert_same(weights(whole), weights(resumed))
    assert resumed.step == whole.step == 12
    assert [r["total"] for r in whole.log] == [r["total"] for r in resumed.log]


def test_two_runs_with_one_seed_are_identical_and_another_seed_differs(workplace, monkeypatch):
    monkeypatch.setattr(Run, "calibrate", lambda self: None)
    runs = []
    for seed in (0, 0, 1):
        run = Run(config_for(workplace, train={"seed": seed}), DATA)
        run.run()
        runs.append(run)
    first, second, other = runs
    assert_same(weights(first), weights(second))
    assert first.log == second.log
    rows = DATA.rows(split=1)[:20]
    answers = [score_rows(run.system, rows) for run in (first, second)]
    for task in ("rating", "ctr"):
        np.testing.assert_array_equal(answers[0][task], answers[1][task])
    assert first.log != other.log


def test_states_are_saved_between_optimiser_steps(workplace, monkeypatch):
    """Gradients are not part of a state, so that none may be pending when it is saved."""
    monkeypatch.setattr(loop, "SAVE_EVERY", 2)

    def ends(self: Run) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "calibrate", ends)
    config = config_for(workplace, train={"accumulate": 3, "steps": 8, "validate_every": 8})
    whole, resumed = Run(config, DATA), Run(config, DATA)
    with pytest.raises(KeyboardInterrupt):
        whole.run()
    resumed.resume()
    assert resumed.step == 6
    for run in (whole, resumed):
        while run.step < 12:
            run.train_step()
    assert_same(weights(whole), weights(resumed))


def test_the_last_stage_trains_the_explanation_adapter_alone(workplace):
    config = config_for(workplace, train={"wording_steps": 4, "wording_size": 2, "steps": 6})
    run = Run(config, DATA)
    while run.step < 6:
        run.train_step()
    run._check()
    run.calibrate()
    before = reload(run.folder)
    run.finish("wording")
    after = reload(run.folder)
    for name, value in before.lora.peft.state_dict().items():
        same = torch.equal(value, after.lora.peft.state_dict()[name])
        assert same != (".explanation." in name), name
    for name, value in before.fusion.state_dict().items():
        assert torch.equal(value, after.fusion.state_dict()[name]), name
    assert after.calibration == before.calibration
    manifest = read_manifest(run.folder)
    assert manifest["training"]["steps"] == 6
    assert manifest["stages"].keys() == {"calibration", "wording"}
    assert manifest["stages"]["wording"]["steps"] == 4


def test_an_unknown_stage_is_one_clear_message(workplace):
    path = write_config(workplace, config_for(workplace))
    with pytest.raises(UserError, match="No checkpoint"):
        train(path, stage="calibration")
    train(path)
    with pytest.raises(UserError, match="No stage 'singing'.*there are: calibration"):
        train(path, stage="singing")
    with pytest.raises(UserError, match="leave --resume and --warm-start away"):
        train(path, stage="calibration", resume=True)


def test_ctr_is_calibrated_on_validation_rows(workplace):
    run = Run(config_for(workplace), DATA)
    run.run()
    served = reload(run.folder)
    slope, intercept = served.calibration["ctr"]
    rows = DATA.rows(split=1)
    probability = score_rows(served, rows, tasks=("ctr",))["ctr"]
    assert probability.mean() == pytest.approx((DATA.rating[rows] >= 4).mean(), abs=0.02)
    assert math.isfinite(slope)
    assert math.isfinite(intercept)


def test_a_killed_run_goes_on_as_if_nothing_had_happened(workplace):
    config = config_for(workplace, train={"steps": 600, "validate_every": 600})
    path = write_config(workplace, config)
    script = (
        "import sys; from ckf_demo.training import loop; loop.SAVE_EVERY = 2; "
        "loop.train(sys.argv[1])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(loop.__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], env=environment, stderr=subprocess.DEVNULL
    )
    state = workplace / "cache" / "ckf-demo" / "runs" / "tiny.pt"
    try:
        while not state.exists() or not torch.load(state, weights_only=True)["at"][0]:
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    resumed = Run(config, DATA)
    resumed.resume()
    assert 0 < resumed.step < 600
    target = resumed.step + 3
    straight = Run(config, DATA)
    while straight.step < target:
        straight.train_step()
    while resumed.step < target:
        resumed.train_step()
    for one, other in zip(weights(straight), weights(resumed), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_training_stops_when_validation_gets_no_better(workplace, monkeypatch):
    config = config_for(workplace, train={"steps": 50, "validate_every": 2, "patience": 2})
    run = Run(config, DATA)
    losses = iter([3.0, 2.0, 2.5, 2.5, 1.0])
    monkeypatch.setattr(run, "validate", lambda: dict.fromkeys(config.train.tasks, next(losses)))
    run.run()
    assert run.step == 8
    manifest = read_manifest(run.folder)
    assert manifest["training"]["steps"] == 4
    assert len((run.folder / "losses.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("task", ["rating", "ctr", "ranking", "explanation"])
def test_one_task_alone(workplace, task):
    path = write_config(workplace, config_for(workplace))
    folder = train(path, only=task)
    assert folder == Path("checkpoints") / f"tiny-{task}"
    manifest = read_manifest(folder)
    assert manifest["tasks"] == [task]
    assert {p.parent.name for p in folder.glob("adapters/*/*.safetensors")} == {"shared", task}
    header = (folder / "losses.csv").read_text().splitlines()[0]
    assert header == f"step,total,{task},train_{task}"


def test_a_task_that_the_configuration_lacks_is_refused(workplace):
    path = write_config(workplace, config_for(workplace, train={"tasks": ["ctr"]}))
    with pytest.raises(UserError, match="'rating' is not among.*ctr"):
        train(path, only="rating")


def test_training_with_words_alone(workplace):
    config = config_for(workplace, fusion={"method": "text"}, train={"tasks": ["rating", "ctr"]})
    run = Run(config, DATA)
    run.run()
    assert all(s.text_only for s in run.validation)
    loaded = reload(run.folder)
    assert loaded.fusion.name == "text"
    assert not loaded.fusion.uses_tokens


@pytest.mark.parametrize("part", PARTS)
def test_every_part_that_an_ablation_takes_away_matters(part):
    # items with history: without any, the bridges have nothing to be made of
    sequences = [s for s in draws(40, augment=False) if len(s.items) > 3][:3]
    complete = sequence_losses_of(SYSTEM, sequences)
    without = sequence_losses_of(SYSTEM, sequences, PARTS[part])
    assert without.keys() == complete.keys()
    assert any(
        not np.allclose(without[t], complete[t], equal_nan=True, rtol=0, atol=1e-7)
        for t in complete
    )


# Configurations


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('name = "x"\n[train]\nstepz = 3\n', "train.stepz"),
        ('name = "x"\n[train]\nsteps = "many"\n', "train.steps"),
        ('name = "x"\n[train]\ntasks = ["rating", "naming"]\n', "train.tasks"),
        ("[train]\nsteps = 3\n", "name"),
        ("name = \n", "not valid TOML"),
    ],
)
def test_wrong_configurations_are_user_errors(tmp_path, text, words):
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        RunConfig.load(path)
    assert "\n" not in str(caught.value).strip()


def test_a_missing_configuration_names_the_others(tmp_path):
    (tmp_path / "other.toml").write_text('name = "other"')
    with pytest.raises(UserError, match="other.toml"):
        train(tmp_path / "missing.toml")


def test_what_is_needed_first_is_said(workplace):
    config = config_for(workplace)
    with pytest.raises(UserError, match="Nothing to resume"):
        train(write_config(workplace, config), resume=True)
    prepared_path("made-up").unlink()
    with pytest.raises(UserError, match="ckf prepare"):
        train(write_config(workplace, config))


def test_a_state_of_another_configuration_is_refused(workplace):
    run = Run(config_for(workplace), DATA)
    run.save_state()
    other = Run(config_for(workplace, train={"steps": 99}), DATA)
    with pytest.raises(UserError, match="another configuration"):
        other.resume()


def test_unknown_names_are_user_errors(workplace):
    with pytest.raises(UserError, match="Unknown fusion method"):
        Run(config_for(workplace, fusion={"method": "gnn"}), DATA)
    with pytest.raises(UserError, match="No backbone"):
        Run(tiny_config(workplace / "nothing-here"), DATA)


# Checkpoints


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A checkpoint under ``checkpoints/tiny`` beside its backbone, of stirred weights."""
    place = tmp_path_factory.mktemp("trained")
    save_backbone(place / "backbone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CollaborativeKnowledge, "fit", lambda prepared, seed=0: tiny_knowledge())
        system = System.for_training(tiny_config(place / "backbone"), DATA)
    torch.manual_seed(7)
    for kind in system.trainable().values():
        for parameter in kind:
            parameter.data += 0.05 * torch.randn_like(parameter)
    system.calibration = {"ctr": (0.8, 0.1)}
    system.save(place / "checkpoint", extra={"training": {"prior": {"rating": 1.5}}})
    return place


@pytest.fixture
def checkpoint(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint"))


def reload(folder: Path, data=DATA) -> System:
    return System.load(folder, data, quantization=dense_precision())


def test_an_ablation_measures_pooled_and_own_answers(workplace, checkpoint):
    rows = measure(checkpoint, [checkpoint], 3, Console(quiet=True))
    kinds = {(row["answer"], row["task"]) for row in rows}
    assert kinds == {(POOLED, t) for t in CONFIG.train.tasks} | {
        (ALONE, t) for t in CONFIG.train.tasks if t != "explanation"
    }
    taken = {
        answer: {r["what"] for r in rows if r["answer"] == answer} for answer in (POOLED, ALONE)
    }
    assert set(PARTS) < taken[POOLED]
    assert {"user bridge", "collaborative tokens", "shared adapter"} < taken[ALONE]
    for row in rows:
        if row["what"] == "nothing":
            assert "change" not in row
        elif row["what"].startswith("joint training"):
            assert row["change"] == 0
        else:
            assert row["low"] <= row["change"] <= row["high"]
    by = {(r["answer"], r["what"], r["task"]): r["loss"] for r in rows}
    assert by[POOLED, "collaborative prior", "ctr"] == by[ALONE, "nothing", "ctr"]


def test_an_ablation_without_parts_compares_checkpoints_alone(workplace, checkpoint):
    rows = measure(checkpoint, [checkpoint], 2, Console(quiet=True), parts=False)
    assert {row["what"] for row in rows} == {"nothing", f"joint training ({checkpoint.name})"}


def test_the_benchmark_measures_all_and_writes_the_agreed_form(workplace, checkpoint, monkeypatch):
    path, plot = workplace / "speed.json", workplace / "growth.html"
    quick = {"quantization": "nf4-bf16", "rounds": 1}
    # a store, weights of whole 4-bit blocks and llama.cpp are not at hand here
    missing = ("again", "profile", "precision", "llama-cpp", "why")
    only = [name for name in MEASUREMENTS if name not in missing]
    bench(checkpoint, only=only, json_path=path, plot_path=plot, **quick)
    assert "catalogue" in plot.read_text()
    result = json.loads(path.read_text())
    text = report.markdown(result)
    assert "| rank_100_vs_one_prompt_each |" in text
    assert "| candidates |" in text
    assert result["machine"]["quantization"] == "nf4-bf16"
    rows = {row["name"]: row for row in result["rows"]}
    assert {
        "rank_100_vs_one_prompt_each",
        "train_vs_one_prompt_each",
        "decode_vs_generate",
        "rank_prefill_vs_matmul_rate",
        "decode_merged_int8_vs_adapters_beside",
        "train_float32_vs_bf16_adapters",
        "rank_100_in_passes_of_512_tokens",
    } < rows.keys()
    for row in rows.values():
        assert row["low"] <= row["value"] <= row["high"]
    assert rows["rank_100_difference_to_plain_float32"]["high"] < 1e-4
    assert rows["train_gradient_cosine"]["value"] > 0.9
    assert any(name.startswith("growth_history_") for name in rows)
    with pytest.raises(UserError, match="No measurement 'speed'"):
        bench(checkpoint, only=["speed"], **quick)
    with pytest.raises(UserError, match="add --only growth"):
        bench(checkpoint, only=["rate"], plot_path=plot, **quick)
    monkeypatch.setattr(llamacpp, "available", lambda: False)
    with pytest.raises(UserError, match="pip install -r requirements-bench.txt"):
        bench(checkpoint, only=["llama-cpp"], **quick)


def test_a_checkpoint_is_read_back_as_it_was_saved(checkpoint):
    system = reload(checkpoint)
    assert system.calibration == {"ctr": (0.8, 0.1)}
    again = checkpoint.with_name("again")
    system.save(again)
    names = sorted(str(p.relative_to(checkpoint)) for p in checkpoint.rglob("*.safetensors"))
    # shared and four tasks, fusion, tables
    assert len(names) == 7
    for name in names:
        assert (again / name).read_bytes() == (checkpoint / name).read_bytes(), name
    sequences = draws(3, augment=False)
    for task, losses in sequence_losses_of(system, sequences).items():
        other = sequence_losses_of(reload(again), sequences)[task]
        np.testing.assert_array_equal(losses, other)


def test_what_is_served_is_what_was_trained(workplace):
    config = config_for(workplace)
    run = Run(config, DATA)
    run.run()
    served = reload(run.folder)
    for one, other in zip(
        served.engine.model.parameters(),
        run.system.engine.model.parameters(),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_saving_over_a_checkpoint_leaves_one_that_loads(checkpoint):
    system = reload(checkpoint)
    for parameter in system.lora.adapter_parameters():
        parameter.data *= 2
    system.save(checkpoint)
    doubled = reload(checkpoint)
    for one, other in zip(
        system.lora.adapter_parameters(), doubled.lora.adapter_parameters(), strict=True
    ):
        assert torch.equal(one.bfloat16(), other.bfloat16())


def test_a_later_run_starts_from_committed_weights(workplace, trained):
    run = Run(config_for(workplace), DATA, warm_start=trained / "checkpoint")
    served = reload(trained / "checkpoint")
    for one, other in zip(
        run.system.lora.adapter_parameters(), served.lora.adapter_parameters(), strict=True
    ):
        assert torch.equal(one, other)
    for name, value in served.fusion.state_dict().items():
        assert torch.equal(value, run.system.fusion.state_dict()[name]), name
    np.testing.assert_array_equal(run.system.knowledge.item_table, served.knowledge.item_table)
    assert run.prior == read_manifest(trained / "checkpoint")["training"]["prior"]


FILES = [
    "adapters/shared/adapter_model.safetensors",
    "adapters/rating/adapter_model.safetensors",
    "adapters/ctr/adapter_model.safetensors",
    "adapters/ranking/adapter_model.safetensors",
    "adapters/explanation/adapter_model.safetensors",
    "fusion.safetensors",
    "collaborative.safetensors",
]


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_found(checkpoint, name):
    data = bytearray((checkpoint / name).read_bytes())
    data[len(data) * 2 // 3] ^= 1
    (checkpoint / name).write_bytes(data)
    with pytest.raises(UserError, match=f"damaged: {name}"):
        reload(checkpoint)


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_missing_file_is_named(checkpoint, name):
    (checkpoint / name).unlink()
    with pytest.raises(UserError, match=name):
        reload(checkpoint)


def test_no_checkpoint_at_all(tmp_path):
    with pytest.raises(UserError, match="No checkpoint at"):
        reload(tmp_path / "none")


def test_a_damaged_manifest_is_named(checkpoint):
    path = checkpoint / "manifest.json"
    whole = path.read_text()
    path.write_text(whole[:-20])
    with pytest.raises(UserError, match="manifest.json is damaged"):
        reload(checkpoint)
    path.write_text(json.dumps({**json.loads(whole), "format": 99}))
    with pytest.raises(UserError, match="format 99"):
        reload(checkpoint)


def test_a_changed_configuration_is_found(checkpoint):
    path = checkpoint / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["config"]["lora"]["alpha"] = 99
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="configuration"):
        reload(checkpoint)


def test_other_data_are_refused(checkpoint):
    with pytest.raises(UserError, match="other data"):
        reload(checkpoint, made_up(n_users=50, n_items=60, n=1500, seed=1))


def test_another_backbone_is_refused(checkpoint, trained):
    """The folder of the same name holds other weights."""
    kept = trained / "kept"
    (trained / "backbone").rename(kept)
    try:
        save_backbone(trained / "backbone", seed=5)
        with pytest.raises(UserError, match="another backbone"):
            reload(checkpoint)
    finally:
        shutil.rmtree(trained / "backbone")
        kept.rename(trained / "backbone")


def test_an_unknown_quantization_is_refused(checkpoint):
    with pytest.raises(UserError, match="choose one of nf4"):
        System.load(checkpoint, DATA, quantization="int3")


def test_a_ranking_stage_changes_ranking_alone_and_sets_its_weight(workplace):
    path = write_config(workplace, config_for(workplace, train={"ranking_steps": 4}))
    train(path)
    folder = workplace / "checkpoints" / "tiny"
    stage = read_manifest(folder)["stages"]["ranking"]
    assert stage["weight"] in WEIGHTS
    assert 0 <= stage["ndcg@10"] <= 1
    system = reload(folder)
    trust = system.fusion.trust["ranking"].item() * STEEPNESS
    assert torch.tensor(trust).sigmoid().item() == pytest.approx(stage["weight"], abs=2e-3)

    others = {
        name: (folder / "adapters" / name / "adapter_model.safetensors").read_bytes()
        for name in ("shared", "rating", "ctr", "explanation")
    }
    rows = DATA.rows(split=1)[:20]
    before = score_rows(system, rows)
    train(path, stage="ranking")
    after = score_rows(reload(folder), rows)
    for name, content in others.items():
        assert (folder / "adapters" / name / "adapter_model.safetensors").read_bytes() == content
    for task in ("rating", "ctr"):
        np.testing.assert_array_equal(before[task], after[task])


def test_the_weight_of_a_pool_is_the_one_with_the_best_order():
    relevant = np.array([0.0, 1.0, 0.0])
    right, wrong = np.array([0.0, 2.0, 1.0]), np.array([5.0, 0.0, 1.0])
    good = Choice(own=right, prior=wrong, relevant=relevant)
    bad = Choice(own=wrong, prior=right, relevant=relevant)
    assert ndcg([good], 1.0) == ndcg([bad], 0.0) == 1.0
    assert ndcg([good], 0.0) == ndcg([bad], 1.0) == pytest.approx(0.5)


def test_a_weight_is_chosen_by_people_to_choose_on_and_few_enough(monkeypatch):
    likes = made_up_likes()
    queries = asked_queries(likes, seed=0)
    assert queries
    assert all(likes.choosing_users[query.user] for query in queries)
    everybody = {query.user for query in ranking_queries(likes, VALID)}
    assert {query.user for query in queries} < everybody

    monkeypatch.setattr(ranking_stage, "QUERIES", 3)
    few = asked_queries(likes, seed=0)
    assert len(few) == 3
    assert {query.user for query in few} <= {query.user for query in queries}
    assert [query.user for query in few] == [query.user for query in asked_queries(likes, seed=0)]
