"""What workers do for the core.

Rule of this file, as of every app's: it imports nothing of REST framework. Each worker loads it.
"""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from neurascale.core.models import KeptAnswer


@shared_task
def prune_answers() -> None:
    """Forget answers to an Idempotency-Key that are older than `settings.IDEMPOTENCY_SECONDS`."""
    oldest = timezone.now() - timedelta(seconds=settings.IDEMPOTENCY_SECONDS)
    KeptAnswer.objects.filter(created_at__lt=oldest).delete()
