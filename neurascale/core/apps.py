"""The core as a Django app: clients and their tokens."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """Ids, clients, tokens, the shape of the API."""

    name = "neurascale.core"
    label = "core"
    verbose_name = "API clients"
    default_auto_field = "django.db.models.BigAutoField"
