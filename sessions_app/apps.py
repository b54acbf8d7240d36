"""The app's entry in Django."""

from django.apps import AppConfig


class SessionsConfig(AppConfig):
    """Who, what, when."""

    name = "sessions_app"
    verbose_name = "Sessions"
    default_auto_field = "django.db.models.BigAutoField"
