"""What every section of the configuration is: immutable, with every field described and no unknown keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

Option = bool | int | float | str


class Section(BaseModel):
    """A part of the configuration: immutable, with no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
