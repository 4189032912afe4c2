"""Where the keys to a cloud come from: the environment or a named profile, read when they are needed.

A description of a store names a profile at most. What opens the store has an object of this module instead of
keys, so that they are in no pickle, repr or log, and new ones are found when the old expire.
"""

from __future__ import annotations

import configparser
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from polystore.errors import AccessError

__all__ = ["AwsProfile"]

_KEEP = timedelta(minutes=5)
"""Profiles are often rewritten by a tool while programs run; they are read again after so long."""


@dataclass(frozen=True, slots=True)
class AwsProfile:
    """A named profile of the AWS files (``~/.aws/credentials`` and ``~/.aws/config``).

    Calling it gives the keys of this moment, in the form the store's library asks for.
    """

    name: str

    def __call__(self) -> dict[str, Any]:
        """The keys; `AccessError` when the profile has none."""
        values = self.values()
        try:
            return {
                "access_key_id": values["aws_access_key_id"],
                "secret_access_key": values["aws_secret_access_key"],
                "token": values.get("aws_session_token"),
                "expires_at": datetime.now(UTC) + _KEEP,
            }
        except KeyError:
            raise AccessError(
                f"profile {self.name!r} has no keys in {' or '.join(_files())}; where they come from a login, "
                f"put them into the environment: eval $(aws configure export-credentials --profile {self.name} "
                "--format env)"
            ) from None

    def values(self) -> dict[str, str]:
        """All the files say of the profile; `AccessError` when they do not know it."""
        credentials, config = _files()
        found: dict[str, str] = {}
        known = False
        for path, section in ((config, _config_section(self.name)), (credentials, self.name)):
            parser = configparser.RawConfigParser()
            parser.read(path, encoding="utf-8")
            if parser.has_section(section):
                known = True
                found.update(parser.items(section))
        if not known:
            raise AccessError(f"no profile {self.name!r} in {credentials} or {config}; check its name")
        return found


def _files() -> tuple[str, str]:
    home = os.path.expanduser("~/.aws")
    return (
        os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or os.path.join(home, "credentials"),
        os.environ.get("AWS_CONFIG_FILE") or os.path.join(home, "config"),
    )


def _config_section(name: str) -> str:
    return name if name == "default" else f"profile {name}"
