"""Signatures of tokens, computed once for each token that a process sees."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any

from rest_framework_simplejwt.backends import TokenBackend

MAX_HELD = 1024  # tokens whose signature a process remembers


class Signatures(TokenBackend):
    """Signs tokens, and reads them; a signature that held once is not computed again.

    Whether a token is in time is asked each time, as is, elsewhere, whether it was withdrawn.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._held: dict[bytes, dict[str, Any]] = {}

    def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:
        """Return the claims of a token; raises `TokenBackendError` if it does not hold."""
        text = token.encode() if isinstance(token, str) else bytes(token)
        name = hashlib.sha256(text).digest()
        claims = self._held.get(name) if verify else None
        if claims is not None and self._is_in_time(claims):
            return dict(claims)
        claims = super().decode(token, verify=verify)
        if verify:
            if len(self._held) >= MAX_HELD:
                self._held.clear()
            self._held[name] = dict(claims)
        return claims

    def _is_in_time(self, claims: Mapping[str, Any]) -> bool:
        now, skew = time.time(), self.get_leeway().total_seconds()
        return bool(claims.get("exp", 0) > now - skew and claims.get("iat", 0) <= now + skew)
