"""Changes somebody's password: Django's command, noted in the audit log."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.management.commands import changepassword

from neurascale.core.accounts import noted_people


class Command(changepassword.Command):
    """Django's own, noted in the audit log."""

    def handle(self, *args: Any, **options: Any) -> str | None:
        """Do it."""
        with noted_people():
            return super().handle(*args, **options)
