"""The project itself as an app: the root that wires, with the command that starts everything."""

from django.apps import AppConfig

from neurascale.celery import app


class NeuraScaleConfig(AppConfig):
    """Holds `manage.py up`; has no models."""

    name = "neurascale"
    verbose_name = "NeuraScale"
    celery = app  # made in every process, so that `shared_task` finds our broker in each
