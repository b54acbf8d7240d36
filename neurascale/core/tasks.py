"""What workers do for the core: load, call, record the outcome."""

from __future__ import annotations

from celery import shared_task

from neurascale.core import idempotency


@shared_task
def prune_answers() -> None:
    """Forget answers that nobody may ask for again."""
    idempotency.prune_answers()
