"""The app's entry in Django."""

from django.apps import AppConfig


class DevicesConfig(AppConfig):
    """From the port to microvolts."""

    name = "devices"
    default_auto_field = "django.db.models.BigAutoField"
