"""The project itself as an app, the root that wires; and the frame of its portal."""

from django.apps import AppConfig
from django.contrib.admin.apps import SimpleAdminConfig

from neurascale.celery import app


class NeuraScaleConfig(AppConfig):
    """Holds `manage.py up`; has no models."""

    name = "neurascale"
    verbose_name = "NeuraScale"
    celery = app  # made in every process, so that `shared_task` finds our broker in each


class PortalConfig(SimpleAdminConfig):
    """Django's admin on unfold's site. Only `urls` opens its rooms: workers need none of them."""

    default_site = "unfold.sites.UnfoldAdminSite"


class ThemeConfig(AppConfig):
    """unfold, for its templates and files: its own entry would import all of it into workers."""

    name = "unfold"
