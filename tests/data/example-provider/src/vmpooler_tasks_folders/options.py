"""The options of the section in `:providers:`, and those of a pool."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class FoldersOptions(BaseModel):
    """The section. An unknown option is an error, which `config check` reports with its path."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider_class: str | None = Field(None, description="read by vmpooler-tasks")
    folder: Path = Field(description="has the folders templates, machines and scratch")


class PoolOptions(BaseModel):
    """The options of a pool that this provider reads. The pool has many others."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    boot_seconds: float = Field(0, ge=0, description="how long a new VM is not ready")
