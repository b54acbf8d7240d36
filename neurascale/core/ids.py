"""Random ids that say what they name. No Django."""

from __future__ import annotations

import base64
import secrets


def make_public_id(prefix: str) -> str:
    """Return ``prefix`` and 16 random base32 letters (80 bits): ``dev_mfzwizltoqqho33m``."""
    return prefix + base64.b32encode(secrets.token_bytes(10)).decode().lower()
