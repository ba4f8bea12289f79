"""One typed configuration of a run, read from TOML.

Each section is declared beside what it configures; `RunConfig` composes them.
"""

import tomllib
from pathlib import Path

from pydantic import Field, ValidationError

from ckf_demo.backbone.loading import BackboneConfig
from ckf_demo.backbone.multilora import LoraConfig
from ckf_demo.data.settings import DataConfig
from ckf_demo.fusion.registry import FusionConfig
from ckf_demo.runtime.errors import UserError
from ckf_demo.runtime.section import Section
from ckf_demo.tasks.prompts import PromptConfig
from ckf_demo.training.config import TrainConfig


class RunConfig(Section):
    """Everything that decides a training run."""

    name: str
    data: DataConfig = Field(default_factory=DataConfig)
    backbone: BackboneConfig = Field(default_factory=BackboneConfig)
    lora: LoraConfig = Field(default_factory=LoraConfig)
    fusion: FusionConfig = Field(default_factory=FusionConfig)
    prompt: PromptConfig = Field(default_factory=PromptConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)

    @classmethod
    def load(cls, path: Path) -> "RunConfig":
        """Read a TOML file; with ``base``, a path beside it, only what differs from that file.

        Raises
        ------
        UserError
            When a file is missing, not TOML, or has an unknown or ill-typed field.
        """
        path = Path(path)
        try:
            return cls.model_validate(_read_toml(path))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UserError(f"{path}: {where}: {first['msg']}") from error


def _read_toml(path: Path) -> dict:
    """The fields of a file over those of its base."""
    if not path.exists():
        known = ", ".join(sorted(str(p) for p in path.parent.glob("*.toml"))) or "none"
        raise UserError(f"No configuration at {path}; there: {known}.")
    try:
        fields = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {error}") from error
    base = fields.pop("base", None)
    if base is None:
        return fields
    merged = _read_toml(path.parent / str(base))
    for name, value in fields.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = merged[name] | value if both else value
    return merged
