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
        """Read the one configuration at a path.

        A TOML file with ``base``, a path beside it, says only what differs from that file. A file
        of variants has a table ``[[variant]]`` for each; ``FILE.toml#NAME`` is one of them.

        Raises
        ------
        UserError
            When a file is missing, not TOML, or has an unknown or ill-typed field, or when the path
            does not name one configuration.
        """
        configs = cls.load_all(path)
        if len(configs) != 1:
            raise UserError(
                f"{path} holds {len(configs)} variants; add #NAME for one of "
                f"{', '.join(config.name for config in configs)}."
            )
        return configs[0]

    @classmethod
    def load_all(cls, path: Path) -> list["RunConfig"]:
        """Read every configuration at a path: all variants of a file, or the only one.

        Raises
        ------
        UserError
            As `load`, and when no variant has the name.
        """
        file, _, wanted = str(path).partition("#")
        named = _read_toml(Path(file))
        if wanted:
            chosen = [(n, fields) for n, fields in named if wanted in (n, fields.get("name"))]
            if not chosen:
                names = ", ".join(n for n, _ in named)
                raise UserError(f"No variant {wanted!r} in {file}; there: {names}.")
            named = chosen
        try:
            return [cls.model_validate(fields) for _, fields in named]
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UserError(f"{path}: {where}: {first['msg']}") from error


def _read_toml(path: Path) -> list[tuple[str, dict]]:
    """Short name and fields of every configuration in a file, each over those of its base.

    A variant's full name begins with that of the file's base, or of its own where the file has
    none.
    """
    if not path.exists():
        known = ", ".join(sorted(str(p) for p in path.parent.glob("*.toml"))) or "none"
        raise UserError(f"No configuration at {path}; there: {known}.")
    try:
        fields = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {error}") from error
    variants = fields.pop("variant", None)
    if variants is None:
        return [("", _over_base(path, fields))]
    named = []
    for variant in variants:
        own = {**fields, **variant}
        base = fields.get("base", own.get("base"))
        if base is None or "name" not in variant:
            raise UserError(f"{path}: every [[variant]] needs a `name` and a `base`.")
        short = str(variant["name"])
        (_, parent), *_ = _read_toml(path.parent / str(base))
        named.append((short, _over_base(path, own) | {"name": f"{parent['name']}-{short}"}))
    return named


def _over_base(path: Path, fields: dict) -> dict:
    """Fields of a file over those of the base that they name, if any."""
    base = fields.pop("base", None)
    if base is None:
        return fields
    (_, merged), *_ = _read_toml(path.parent / str(base))
    for name, value in fields.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = merged[name] | value if both else value
    return merged
