"""What a process loads before it can work: whoever starts the lab waits for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.checks import check_admin_app
from django.urls import reverse
from unfold.sites import UnfoldAdminSite

from devices.models import Device
from neurascale.supervisor.lab import lab_programs
from tests.machine import ROOT

WORKER = "import neurascale.celery as c; c.app.loader.import_default_modules()"
NOT_FOR_WORKERS = {
    *("rest_framework.views", "unfold.sites", "daphne.server"),
    *("scipy", "mne", "sklearn"),
}
LAB = lab_programs(
    home=Path("home"),
    host="lab",
    bind="",
    port=1,
    max_body_bytes=1000,
    valkey_socket=None,
    virtual_board=False,
)
WORKERS = [program for program in LAB if program.name != "web"]


@pytest.mark.parametrize("program", WORKERS, ids=lambda program: program.name)
def test_a_worker_loads_no_page_and_no_slow_library_before_it_is_wanted(program):
    code = f"{WORKER}; import sys; print(sorted({NOT_FOR_WORKERS!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | dict(program.environment),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.stdout == "[]\n"


def test_the_portal_is_unfolds_and_its_rooms_are_in_order():
    reverse("admin:index")  # the URLs open the rooms
    assert isinstance(admin.site._wrapped, UnfoldAdminSite)
    assert Device in admin.site._registry
    assert check_admin_app(apps.get_app_configs()) == []
