"""Configurations are read from TOML, and what is wrong in them is named."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ckf_demo.config import RunConfig
from ckf_demo.runtime.errors import UserError
from ckf_demo.training.loop import train
from support.paths import CONFIGS


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


@pytest.mark.parametrize(
    "path", sorted((CONFIGS / "ablations").glob("*.toml")), ids=lambda p: p.stem
)
def test_committed_variants_differ_from_each_other_in_what_they_say(path):
    configs = RunConfig.load_all(path)
    assert len({config.name for config in configs}) == len(configs) > 1
    bodies = {config.model_copy(update={"name": ""}).model_dump_json() for config in configs}
    assert len(bodies) == len(configs)


@pytest.mark.parametrize(
    ("name", "base"), [("collm-ml-1m", "collm-ml-1m-aligned"), ("ml-100k", "ml-100k")]
)
def test_committed_variants_are_named_after_their_base(name, base):
    base = RunConfig.load(CONFIGS / f"{base}.toml")
    path = CONFIGS / "ablations" / f"{name}.toml"
    for config in RunConfig.load_all(path):
        assert config.name.startswith(f"{base.name}-")
        assert config.data.dataset == base.data.dataset


@pytest.fixture
def variants(tmp_path) -> Callable[[str], Path]:
    """Writes a file of variants of a base with 7 steps of 3 rows."""
    (tmp_path / "base.toml").write_text('name = "tiny"\n[train]\nsteps = 7\nrows = 3\n')

    def write(text: str) -> Path:
        file = tmp_path / "variants.toml"
        file.write_text(text)
        return file

    return write


def test_a_file_of_variants_is_read_completely_or_by_name(variants):
    file = variants(
        'base = "base.toml"\n[[variant]]\nname = "a"\ntrain.steps = 9\n'
        '[[variant]]\nname = "b"\nlora.rank = 2\n'
    )
    first, second = RunConfig.load_all(file)
    assert (first.name, first.train.steps, first.train.rows) == ("tiny-a", 9, 3)
    assert (second.name, second.train.steps, second.lora.rank) == ("tiny-b", 7, 2)
    assert RunConfig.load(Path(f"{file}#b")) == RunConfig.load(Path(f"{file}#tiny-b")) == second


def test_a_variant_keeps_the_fields_of_its_file_in_a_table_that_it_changes(variants):
    text = 'base = "base.toml"\n[train]\nrows = 5\n[[variant]]\nname = "a"\ntrain.steps = 9\n'
    config = RunConfig.load(variants(text))
    assert (config.train.steps, config.train.rows) == (9, 5)


TWO = 'base = "base.toml"\n[[variant]]\nname = "a"\n[[variant]]\nname = "b"\n'


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        (TWO, "variants.toml", "add #NAME"),
        (TWO, "variants.toml#c", "No variant 'c'"),
        (TWO, "base.toml#x", r"'x' in .*base\.toml; the file has no variants"),
        (f"{TWO}train.stepz = 9\n", "variants.toml", r"variants\.toml#b: train\.stepz"),
        ("[[variant]]\nlora.rank = 2\n", "variants.toml", "needs a `name` and a `base`"),
    ],
)
def test_what_is_wrong_with_variants_is_named(variants, text, name, says):
    path = variants(text).with_name(name)
    with pytest.raises(UserError, match=says):
        RunConfig.load(path)
    assert RunConfig.load(path.with_name("base.toml#tiny")).name == "tiny"
