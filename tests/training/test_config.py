"""Configurations are read from TOML, and what is wrong in them is named."""

import pytest

from ckf_demo.config import RunConfig
from ckf_demo.runtime.errors import UserError
from ckf_demo.training.loop import train


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
