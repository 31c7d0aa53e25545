"""Every setting of SaM, read from environment variables named ``SAM_…`` (or a ``.env`` file)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from platformdirs import user_data_path
from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from experts.assets import assets_dir

__all__ = ["Settings"]


class Settings(BaseSettings):
    """Settings of the app, the worker and the command line.

    Raises:
        pydantic.ValidationError: when a variable has a value that does not fit.
    """

    model_config = SettingsConfigDict(
        env_prefix="SAM_", env_file=".env", env_file_encoding="utf-8", extra="ignore"
    )

    data_dir: Path = Field(
        default_factory=lambda: user_data_path("sam-ui", appauthor=False),
        description="Folder for the database, converted models, added experts and merged adapters.",
    )
    database_url: str = Field(
        default="",
        description="SQLAlchemy URL of the database; empty: SQLite in the data folder.",
    )
    base_model: str = Field(
        default="",
        description="Base model: a hub id or a folder; empty: the embedded Gemma 3 270M.",
    )
    engine_url: str = Field(
        default="",
        description="Address of a vLLM server (OpenAI-compatible) that does the extraction; empty: "
        "SaM does it itself.",
    )
    engine_key: str = Field(
        default="", repr=False, description="What that server was given as --api-key, if anything."
    )
    embedder: str = Field(
        default="",
        description="Sentence embedder: hub id or folder; empty: the embedded all-MiniLM-L6-v2.",
    )
    pool_dir: str = Field(
        default="",
        description="Folder with the bundled experts; empty: the pool that comes with SaM.",
    )
    device: str = Field(
        default="auto", description="Where models run: auto, cpu, cuda, cuda:1 …, or mps."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16", "int8", "nf4"] = Field(
        default="auto",
        description="Number format of the base model: auto, float32, bfloat16, float16, int8 (CPU) "
        "or nf4 (4 bits, NVIDIA GPU).",
    )
    threads: int = Field(
        default=0, ge=0, le=1024, description="CPU threads for the models; 0: as torch chooses."
    )
    host: str = Field(
        default="127.0.0.1", description="Address that the app listens on; 0.0.0.0 for all."
    )
    port: int = Field(default=7860, ge=0, le=65535, description="Port that the app listens on.")
    share: bool = Field(
        default=False, description="Whether Gradio opens a public tunnel to the app."
    )
    max_upload_mb: int = Field(
        default=50, ge=1, le=10_000, description="Largest file that can be uploaded, in MB."
    )
    max_sentences: int = Field(
        default=20_000, ge=1, description="Most sentences that one session can hold."
    )
    language: str = Field(
        default="en",
        description="Language of the interface: en, one that has a catalogue in assets/locale, or "
        "auto, the one of these that the browser asks for.",
    )
    mcp: bool = Field(
        default=False,
        description="Whether AI assistants can call the endpoints through MCP; needs the extra `mcp`.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="How much is logged: DEBUG, INFO, WARNING or ERROR."
    )

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @property
    def db_url(self) -> str:
        """The database's SQLAlchemy URL, default applied."""
        if self.database_url:
            return self.database_url
        from db import sqlite_url

        return sqlite_url(self.data_dir / "sam.sqlite3")

    @property
    def bundled_dir(self) -> Path:
        """Folder of the bundled experts."""
        if self.pool_dir:
            return Path(self.pool_dir).expanduser().absolute()
        return assets_dir() / "experts"

    @property
    def user_experts_dir(self) -> Path:
        """Folder of the experts that were added."""
        return self.data_dir / "experts"

    @property
    def samples_dir(self) -> Path:
        """Folder of the sample corpora."""
        return assets_dir() / "samples"

    def session_dir(self, session_id: str) -> Path:
        """Folder of a session's files (merged adapters, exports); it may not exist yet."""
        return self.data_dir / "sessions" / session_id

    def as_env(self) -> dict[str, str]:
        """Environment variables from which a child process reads exactly these settings."""
        return {f"SAM_{key.upper()}": str(value) for key, value in self.model_dump().items()}
