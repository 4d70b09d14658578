"""The user of a connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, repr=False)
class Login:
    """The user to log in as. Part of the key of a pooled connection: each user has its own."""

    username: str = ""
    password: str = ""
    source: str = "admin"
    mechanism: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """Return the driver's options for it."""
        if self.mechanism == "MONGODB-X509":
            return {"authMechanism": self.mechanism, "authSource": "$external"}
        if not self.username:
            return {}
        options = {"username": self.username, "password": self.password, "authSource": self.source}
        return options | ({"authMechanism": self.mechanism} if self.mechanism else {})
