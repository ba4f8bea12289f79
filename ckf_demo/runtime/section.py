"""The base of every section of a run's configuration."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Typed fields of one TOML section; unknown fields are refused and values are fixed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
