"""Settings: from the environment (`RTS_…`) and from files; secrets never stand in the database or the repository."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What an installation is told from outside. Every field is read from `RTS_` and its name in capitals; see
    docs/configuration.md. A file named as a variable in the folder RTS_SECRETS_DIR serves instead of the variable.
    """

    model_config = SettingsConfigDict(
        env_prefix="RTS_", extra="ignore", secrets_dir=os.environ.get("RTS_SECRETS_DIR") or None
    )

    home: Path = Field(default=Path("var"), description="Folder for what the other paths do not name.")
    database: str = Field(default="", description="sqlite:///FILE or postgresql://USER@HOST/NAME.")
    keyring: Path | None = Field(default=None, description="The keyring file (mode 0600).")
    keys: Literal["file", "transit"] = Field(
        default="file", description="Where the root keys are: in the keyring file, or in a key service."
    )
    transit_address: str = Field(default="", description="The key service: OpenBao or HashiCorp Vault.")
    transit_mount: str = Field(default="transit", description="Where its transit engine is mounted.")
    transit_key: str = Field(default="rts", description="The engine's key that is the root key.")
    transit_token_file: Path | None = Field(default=None, description="The file that holds the token, not the token.")
    transit_ca_file: Path | None = Field(default=None, description="Certificates to trust; the system's if none.")
    transit_namespace: str = ""
    lists: Path | None = Field(default=None, description="Folder of the sealed list files.")
    environment: str = Field(
        default="production", description="production, training or test; fixed when the database is set up."
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=1, le=65535)
    address: str = Field(default="", description="The address people reach the pages at, for links in mails.")
    behind_proxy: bool = Field(
        default=False, description="Trust X-Forwarded-For and -Proto of one proxy, and send cookies over TLS only."
    )
    smtp_host: str = ""
    smtp_port: int = Field(default=25, ge=1, le=65535)
    smtp_user: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_starttls: bool = False
    mail_from: str = "rts@localhost"
    checkpoint_recipients: str = Field(default="", description="User names that get the daily checkpoint, with commas.")

    @property
    def database_address(self) -> str:
        """The database's address; a SQLite file in `home` unless another is named."""
        return self.database or f"sqlite:///{self.home / 'rts.sqlite'}"

    @property
    def keyring_path(self) -> Path:
        """Where the keyring is."""
        return self.keyring or self.home / "keyring.json"

    @property
    def lists_path(self) -> Path:
        """Where the sealed lists are."""
        return self.lists or self.home / "allocation_lists"
