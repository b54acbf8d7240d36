"""People whom Django's own commands make and change, in the audit log.

``createsuperuser`` and ``changepassword`` have no service that says what it did, so the rows are
listened to while they run. What people do in the portal, its rooms note by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models.signals import post_save

from neurascale.core.audit import record


@contextmanager
def noted_people() -> Iterator[None]:
    """Note every person that is stored meanwhile, by whatever in this process."""
    people = get_user_model()
    post_save.connect(_note, sender=people)
    try:
        yield
    finally:
        post_save.disconnect(_note, sender=people)


def _note(instance: Any, created: bool, **_: Any) -> None:
    record("user.create" if created else "user.change", instance)
