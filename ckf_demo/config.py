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

        A file may name a ``base``, a TOML file relative to its own folder, and then lists only its
        differences from it. A file may also have several tables ``[[variant]]``;
        ``FILE.toml#NAME`` is one of its variants. UserError when a file is missing, not TOML, or
        has an unknown or ill-typed field, or when the path does not name one configuration.
        """
        configs = cls.load_all(path)
        if len(configs) != 1:
            raise UserError(
                f"{path} has {len(configs)} variants; add #NAME for one of "
                f"{', '.join(config.name for config in configs)}."
            )
        return configs[0]

    @classmethod
    def load_all(cls, path: Path) -> list["RunConfig"]:
        """Read every configuration at a path: all variants of a file, or the only one."""
        file, _, variant_name = str(path).partition("#")
        variants = _read_toml(Path(file))
        if variant_name:
            names = ", ".join(name for name, _ in variants if name)
            variants = [v for v in variants if variant_name in (v[0], v[1].get("name"))]
            if not variants:
                others = f"; choose one of {names}" if names else "; the file has no variants"
                raise UserError(f"No variant {variant_name!r} in {file}{others}.")
        configs = []
        for name, fields in variants:
            try:
                configs.append(cls.model_validate(fields))
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"])
                source = f"{file}#{name}" if name else file
                raise UserError(f"{source}: {where}: {first['msg']}") from error
        return configs


def _read_toml(path: Path) -> list[tuple[str, dict]]:
    """Short name, empty in a file without variants, and merged fields of every configuration.

    A variant's full name is the name of its base, a hyphen and its short name.
    """
    if not path.exists():
        others = ", ".join(sorted(str(p) for p in path.parent.glob("*.toml"))) or "no TOML file"
        raise UserError(f"No configuration at {path}; its folder has {others}.")
    try:
        fields = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {error}") from error
    variants = fields.pop("variant", None)
    if variants is None:
        return [("", _merged_with_base(path, fields))]
    configurations = []
    for variant in variants:
        base = fields.get("base", variant.get("base"))
        if base is None or "name" not in variant:
            raise UserError(f"{path}: every [[variant]] needs a `name` and a `base`.")
        name = str(variant["name"])
        (_, parent), *_ = _read_toml(path.parent / str(base))
        merged = _merged_with_base(path, _merged(fields, variant))
        configurations.append((name, merged | {"name": f"{parent['name']}-{name}"}))
    return configurations


def _merged_with_base(path: Path, fields: dict) -> dict:
    """A file's fields merged into those of the base that they name, if any."""
    base = fields.get("base")
    if base is None:
        return fields
    (_, inherited), *_ = _read_toml(path.parent / str(base))
    return _merged(inherited, {name: v for name, v in fields.items() if name != "base"})


def _merged(fields: dict, changes: dict) -> dict:
    """Fields with changes; where both have a table of one name, its fields are merged."""
    merged = dict(fields)
    for name, value in changes.items():
        are_tables = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = merged[name] | value if are_tables else value
    return merged
