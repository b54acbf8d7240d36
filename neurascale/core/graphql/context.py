"""Who asks, and under which name the request is found in the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from neurascale.core.auth import Principal
from neurascale.core.models import make_public_id


@dataclass
class Context:
    """What all resolvers of an operation share.

    Parameters
    ----------
    principal : Client, user or None
        Who asks; None only on a socket that did not say so yet.
    request_id : str
        Of the HTTP request, or of the connection.
    connection_params : mapping, optional
        What the first message of a socket said.
    """

    principal: Principal | None
    request_id: str = field(default_factory=lambda: make_public_id("req_"))
    connection_params: Mapping[str, Any] | None = None
