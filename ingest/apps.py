"""The app's entry in Django."""

from django.apps import AppConfig


class IngestConfig(AppConfig):
    """The live stream and the stored one."""

    name = "ingest"
    verbose_name = "Streams and recordings"
    default_auto_field = "django.db.models.BigAutoField"
