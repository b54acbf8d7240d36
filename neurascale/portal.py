"""The portal's frame: its name, its menu, its style. The rooms are the apps' `admin` modules."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def link(title: str, icon: str, view: str) -> dict[str, Any]:
    """Return one entry of the menu."""
    return {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{view}_changelist")}


def favicon(request: HttpRequest) -> str:
    """Return where the sign in the browser's tab is."""
    return static("neurascale/favicon.svg")


UNFOLD = {
    "SITE_TITLE": "NeuraScale",
    "SITE_HEADER": "NeuraScale",
    "SITE_SUBHEADER": "Brain-computer-interface lab",
    "SITE_SYMBOL": "neurology",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": favicon}],
    "SHOW_VIEW_ON_SITE": False,
    "LOGIN": {"form": "neurascale.core.portal.LoginForm"},
    "SIDEBAR": {
        "show_search": True,
        "navigation": [
            {
                "title": "Lab",
                "items": [
                    link("Devices", "sensors", "devices_device"),
                    link("Streams", "timeline", "ingest_stream"),
                ],
            },
            {
                "title": "Recordings",
                "separator": True,
                "items": [
                    link("Sessions", "radio_button_checked", "sessions_app_session"),
                    link("Studies", "folder_shared", "sessions_app_study"),
                    link("Subjects", "person", "sessions_app_subject"),
                ],
            },
            {
                "title": "Access",
                "separator": True,
                "items": [
                    link("API clients", "key", "core_client"),
                    link("People", "group", "auth_user"),
                    link("Audit log", "history", "core_auditentry"),
                ],
            },
        ],
    },
}
