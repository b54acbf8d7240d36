from pathlib import Path

import pytest

from tests import house_rules
from tests.house_rules import RULES, Tree
from tests.machine import ROOT

# A small house in good order: something in every room, imports as they should be.
GOOD = {
    "neurascale/__init__.py": "__version__ = '1'",
    "neurascale/settings.py": "from neurascale.portal import UNFOLD",
    "neurascale/portal.py": "UNFOLD = {}",
    "neurascale/core/__init__.py": "",
    "neurascale/core/errors.py": "class NeuraScaleError(Exception): ...",
    "neurascale/core/models.py": "from django.db import models",
    "neurascale/core/registry.py": (
        "import importlib\ndef load(name):\n    return importlib.import_module(name)"
    ),
    "neurascale/client/__init__.py": "import httpx\nfrom neurascale.client import session",
    "neurascale/client/session.py": "from neurascale import __version__",
    "devices/__init__.py": "",
    "devices/boards/__init__.py": "import numpy\nfrom neurascale.core.registry import load",
    "devices/boards/cyton.py": "from devices.boards import load",
    "devices/link.py": "import serial\nport = serial.serial_for_url('loop://')",
    "devices/models.py": "from django.db import models\nfrom devices.boards import load",
    "devices/services.py": "from devices import models, link",
    "devices/apps.py": "from devices import services",
    "ingest/__init__.py": "",
    "ingest/broadcast.py": "async def tell(layer):\n    await layer.group_send('device', {})",
    "ingest/hub.py": (
        "from ingest.broadcast import group_of\n"
        "async def join(layer, device):\n"
        "    group = group_of(device)\n"
        "    await layer.group_add(group, 'me')\n"
        "    await layer.group_discard(group_of(device), 'me')"
    ),
    "ingest/codec.py": '"""Bytes.\n\nRule of this file: no\nDjango."""\nimport numpy',
    "ingest/models.py": "from devices.models import Device\nfrom ingest.codec import encode",
    "ingest/tasks.py": "from ingest import hub",
    "ingest/services/__init__.py": "",
    "ingest/services/streams.py": "from ingest.tasks import run",
    "ingest/services/recordings.py": "from ingest.services.streams import start",
    "ingest/graphql.py": "import strawberry\nfrom ingest import serializers, services, views",
    "ingest/serializers.py": "from rest_framework import serializers",
    "ingest/views/__init__.py": "from rest_framework import viewsets\nfrom ingest import services",
    "ingest/urls.py": "from ingest import views",
    "ingest/lazy.py": (
        "import importlib\ndef __getattr__(name):\n    return importlib.import_module(name)"
    ),
    "mlmodels/__init__.py": "",
    "mlmodels/decoding.py": "from ingest.services.streams import start",
}
BAD = {
    "the left asks the right": (
        "apps_look_left_only",
        {"devices/services.py": "from ingest.models import Stream"},
    ),
    "core asks an app": ("apps_look_left_only", {"neurascale/core/models.py": "import devices"}),
    "an app asks what wires": (
        "apps_look_left_only",
        {"ingest/tasks.py": "from neurascale.settings import DEBUG"},
    ),
    "the left asks in a package's own words": (
        "apps_look_left_only",
        {"devices/services.py": "from ingest import models as m"},
    ),
    "the SDK asks the core": (
        "apps_look_left_only",
        {"neurascale/client/session.py": "from neurascale.core.errors import NeuraScaleError"},
    ),
    "a model asks a service": (
        "calls_go_down",
        {"ingest/models.py": "from .services import streams"},
    ),
    "the craft asks a task": ("calls_go_down", {"ingest/hub.py": "from ingest import tasks"}),
    "a service asks a view": (
        "calls_go_down",
        {"ingest/services/streams.py": "import ingest.views"},
    ),
    "a serializer asks the admin": (
        "calls_go_down",
        {"ingest/serializers.py": "from . import admin", "ingest/admin.py": ""},
    ),
    "a service asks GraphQL": (
        "calls_go_down",
        {"ingest/services/streams.py": "from ingest.graphql import Stream"},
    ),
    "a serializer asks GraphQL": (
        "calls_go_down",
        {"ingest/serializers.py": "import ingest.graphql"},
    ),
    "GraphQL of the left asks the right": (
        "apps_look_left_only",
        {"devices/graphql.py": "from ingest.graphql import Stream"},
    ),
    "a plug-in asks a model": (
        "calls_go_down",
        {"devices/boards/cyton.py": "from devices.models import Device"},
    ),
    "a pure file asks the craft": (
        "calls_go_down",
        {"ingest/codec.py": '"""No Django."""\nimport ingest.hub'},
    ),
    "a task asks a service": (
        "tasks_never_import_services",
        {"ingest/tasks.py": "from ingest.services.streams import start"},
    ),
    "a task asks a service of the left": (
        "tasks_never_import_services",
        {"ingest/tasks.py": "from devices.services import connect"},
    ),
    "an import in a function": (
        "nothing_is_imported_in_a_function",
        {"ingest/hub.py": "def f():\n    if True:\n        import numpy"},
    ),
    "an import in a method": (
        "nothing_is_imported_in_a_function",
        {"ingest/hub.py": "class A:\n    async def f(self):\n        from ingest import models"},
    ),
    "an import by name": (
        "nothing_is_imported_in_a_function",
        {"ingest/hub.py": "import importlib\nimportlib.import_module('mlmodels')"},
    ),
    "two files ask each other": (
        "no_module_imports_in_circles",
        {"ingest/services/streams.py": "from ingest.services import recordings"},
    ),
    "three files ask in a circle": (
        "no_module_imports_in_circles",
        {
            "ingest/a.py": "from ingest import b",
            "ingest/b.py": "from ingest import c",
            "ingest/c.py": "from ingest.a import x",
        },
    ),
    "only for types": (
        "no_module_imports_in_circles",
        {
            "ingest/a.py": "from ingest import b",
            "ingest/b.py": (
                "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ingest.a import x"
            ),
        },
    ),
    "a marked file asks Django": (
        "no_django_means_no_django",
        {"devices/boards/cyton.py": "from django.utils import timezone"},
    ),
    "a file that promises no Django asks DRF": (
        "no_django_means_no_django",
        {"ingest/codec.py": '"""Knows no Django."""\nfrom rest_framework import status'},
    ),
    "a marked file asks one that asks Django": (
        "no_django_means_no_django",
        {"ingest/codec.py": '"""No Django."""\nfrom devices.models import Device'},
    ),
    "a file of another kind loads GraphQL": (
        "graphql_is_loaded_by_its_edges_only",
        {"ingest/lazy.py": "import strawberry"},
    ),
    "the urls load GraphQL through an edge of it": (
        "graphql_is_loaded_by_its_edges_only",
        {"ingest/urls.py": "from ingest import graphql"},
    ),
    "a board looks at the clock": (
        "boards_do_no_io",
        {"devices/boards/cyton.py": "from time import monotonic"},
    ),
    "another file opens a port": (
        "one_file_opens_ports",
        {"devices/ports.py": "import serial\nserial.Serial('/dev/ttyUSB0')"},
    ),
    "a group's name as a literal": (
        "group_names_live_in_one_file",
        {"ingest/hub.py": "async def f(layer):\n    await layer.group_add('device', 'me')"},
    ),
    "a group's name put together": (
        "group_names_live_in_one_file",
        {"ingest/hub.py": "def f(layer, d):\n    g = f'{d}'\n    layer.group_add(g, d)"},
    ),
    "a long file": ("files_can_be_read_in_one_go", {"ingest/hub.py": "a = 1\n" * 451}),
    "a long test": ("files_can_be_read_in_one_go", {"tests/test_a.py": "a = 1\n" * 451}),
}


def built(folder: Path, files: dict[str, str]) -> Tree:
    for name, source in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return Tree(folder)


@pytest.fixture(scope="module")
def project() -> Tree:
    tree = Tree(ROOT)
    assert {"neurascale.core.chunk", "devices.link", "ingest.broadcast"} <= tree.modules.keys()
    return tree


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rule(project, rule):
    assert not list(rule(project)), rule.__doc__


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_house_in_good_order_breaks_no_rule(tmp_path, rule):
    assert list(rule(built(tmp_path, GOOD))) == []


@pytest.mark.parametrize("case", BAD)
def test_a_broken_rule_is_seen_and_said_where(tmp_path, case):
    rule, changed = BAD[case]
    (sentence, *_) = list(getattr(house_rules, rule)(built(tmp_path, GOOD | changed)))
    written = [name for path in changed for name in (path, path[:-3].replace("/", "."))]
    assert any(name in sentence for name in written)


def test_every_rule_is_broken_by_some_case():
    assert {rule for rule, _ in BAD.values()} == {rule.__name__ for rule in RULES}
