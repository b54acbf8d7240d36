"""Fixtures that more than one folder of tests needs, and which tests run on which database."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings as hypothesis_settings
from xdist.scheduler import LoadScopeScheduling

from tests.browser import MISSING, find_chromium, open_browser
from tests.lab.sharing import shares_lab
from tests.machine import find_free_port
from tests.web import Server, serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest_plugins = ["tests.lab.fixtures"]

DATABASE = os.environ.get("NEURASCALE_TEST_DATABASE", "sqlite")
# Whose tests share the lab.
OF_THE_LAB = (
    *(f"tests/lab/test_{name}.py" for name in ("audit", "graphql", "replay", "rest", "up")),
    *("tests/portal/", "tests/test_seed_document.py"),
)
DATABASE_FIXTURES = {"db", "transactional_db", "asgi_server", "lab", "fresh_lab_database"}

# A busy machine is no reason to fail: what has to be fast is measured in benchmarks/.
hypothesis_settings.register_profile("neurascale", deadline=None)
hypothesis_settings.load_profile("neurascale")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database-only",
        action="store_true",
        help="run only the tests that use a database: for the second run, on another database",
    )


def pytest_report_header() -> str:
    return f"database: {DATABASE}"


def uses_database(item: pytest.Item) -> bool:
    """Tell whether a test would do something else on another database."""
    if item.get_closest_marker("page") is not None:
        return False
    fixtures = set(getattr(item, "fixturenames", ()))
    return bool(fixtures & DATABASE_FIXTURES) or item.get_closest_marker("django_db") is not None


class OneLab(LoadScopeScheduling):
    """All tests of the lab that is shared go to one worker, or each would start a lab of its own.

    xdist's own groups are lost with pytest 9.2: it marks them in an attribute that is not read.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "lab" if nodeid.startswith(OF_THE_LAB) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneLab:
    return OneLab(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    twice = [nodeid for nodeid, n in Counter(item.nodeid for item in items).items() if n > 1]
    if twice:
        raise pytest.UsageError(f"several tests have one id; xdist would run one of them: {twice}")
    for item in items:
        if shares_lab(item):
            item.add_marker("lab")
            if not item.nodeid.startswith(OF_THE_LAB):
                raise pytest.UsageError(f"{item.nodeid} uses the lab: name its file in OF_THE_LAB")
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    if config.getoption("database_only"):
        left_out = [item for item in items if not uses_database(item)]
        items[:] = [item for item in items if uses_database(item)]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Make the database, and end who is still connected to it before it is removed.

    Those are threads in which asyncio lets Django work: they end with the process, with whatever
    they have open, and PostgreSQL removes no database that somebody is connected to.
    """
    from django.db import connection

    yield
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


@pytest.fixture(scope="session", autouse=True)
def _emptied_between_tests() -> Iterator[None]:
    """Empty the database after a test that committed: more cheaply than Django does, and all of it.

    Django makes the content types and permissions anew each time, which takes longer than many a
    test; they follow from the models, and no test changes them, so here they stay. The audit log
    goes too, though the database keeps others from emptying it.
    """
    from django.apps import apps  # Django is set up only after this file was imported
    from django.db import connection
    from django.db.transaction import atomic
    from django.test import TransactionTestCase

    from neurascale.core.audit_triggers import without_triggers

    stay = {apps.get_model(name) for name in ("contenttypes.ContentType", "auth.Permission")}
    models = [model for model in apps.get_models(include_auto_created=True) if model not in stay]
    tables = [connection.ops.quote_name(model._meta.db_table) for model in models]

    def empty(_test: TransactionTestCase) -> None:
        with without_triggers(connection), atomic(), connection.cursor() as cursor:
            if connection.vendor == "postgresql":  # what another process is writing goes as well
                cursor.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
            for table in tables:
                cursor.execute(f"DELETE FROM {table}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty)
        yield


@pytest.fixture(scope="session", autouse=True)
def _passwords_cost_little() -> Iterator[None]:
    """Hash passwords once instead of a million times, which takes half a second each.

    How often is part of a hash, so the processes beside the tests, which do it as in earnest, can
    check these too.
    """
    from django.contrib.auth.hashers import PBKDF2PasswordHasher

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PBKDF2PasswordHasher, "iterations", 1)
        yield


@pytest.fixture(scope="session", autouse=True)
def _static_files_are_looked_for_when_asked_for() -> Iterator[None]:
    """Let WhiteNoise do as with `DEBUG=1`, or each test's client would list all files anew."""
    from django.test import override_settings

    with override_settings(WHITENOISE_AUTOREFRESH=True):
        yield


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on just now."""
    return find_free_port()


@pytest.fixture(scope="module")
def _browser() -> Iterator[Browser]:
    """Debian's Chromium, started once for the tests of a file."""
    if find_chromium() is None:
        if os.environ.get("NEURASCALE_REQUIRE_BROWSER") == "1":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with pytest.MonkeyPatch.context() as patch, open_browser() as browser:
        # Playwright's event loop runs in this thread, beside which Django would refuse the ORM.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        yield browser


@pytest.fixture
def chromium(_browser: Browser) -> Iterator[Page]:
    """A page of a browser without a past; errors in the page's own scripts fail the test."""
    errors: list[str] = []
    with _browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
    assert not errors


@pytest.fixture(scope="session")
def _web_process(
    django_db_setup: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("web") / "log") as server:
        yield server


@pytest.fixture
def asgi_server(transactional_db: None, _web_process: Server) -> Server:
    """A real web process, for tests of sockets; it sees what the test commits."""
    return _web_process


@pytest.fixture
def web_pages(_web_process: Server) -> Server:
    """The same process, for tests of what it answers without a look into the database."""
    return _web_process
