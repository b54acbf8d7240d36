import json
import os
import re
import subprocess
import sys

import pytest

from tests.machine import ROOT

SHOW = """
import json, sys
from neurascale import settings
print(json.dumps({name: getattr(settings, name) for name in sys.argv[1:]}, default=str))
"""


def start(*names, **environment):
    """Read settings in a process of their own, with nothing in the environment but this."""
    return subprocess.Popen(
        [sys.executable, "-c", SHOW, *names],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read(*names, **environment):
    """Return the settings of a fresh process."""
    with start(*names, **environment) as process:
        printed, complaint = process.communicate(timeout=60)
    assert process.returncode == 0, complaint
    return json.loads(printed)


def test_processes_that_start_together_agree_on_one_secret_key(tmp_path):
    home = tmp_path / "lab"
    processes = [start("SECRET_KEY", NEURASCALE_HOME=str(home)) for _ in range(4)]
    keys = {process.communicate(timeout=60)[0] for process in processes}
    assert len(keys) == 1
    assert json.loads(keys.pop())["SECRET_KEY"] == (home / "secret_key").read_text()
    assert (home / "secret_key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in home.iterdir()] == ["secret_key"]


def test_a_given_secret_key_is_used_and_not_written_down(tmp_path):
    given = read("SECRET_KEY", SECRET_KEY="given", NEURASCALE_HOME=str(tmp_path))
    assert given == {"SECRET_KEY": "given"}
    assert not list(tmp_path.iterdir())


def test_production_without_a_place_for_its_secret_is_refused():
    with start("SECRET_KEY", DEBUG="0") as process:
        _, complaint = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "there must be a SECRET_KEY, or a NEURASCALE_HOME" in complaint


def test_without_redis_url_there_is_a_valkey_of_our_own(tmp_path):
    names = ("VALKEY_IS_EMBEDDED", "CELERY_BROKER_URL", "CHANNEL_LAYERS")
    got = read(*names, NEURASCALE_HOME=str(tmp_path))
    assert got["VALKEY_IS_EMBEDDED"] is True
    assert got["CELERY_BROKER_URL"] == f"redis+socket://{tmp_path}/run/valkey.sock"
    assert got["CHANNEL_LAYERS"]["default"]["CONFIG"]["hosts"] == [
        f"unix://{tmp_path}/run/valkey.sock"
    ]


def test_redis_url_takes_its_place_everywhere(tmp_path):
    url = "redis://elsewhere:6379/1"
    names = ("VALKEY_IS_EMBEDDED", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "CHANNEL_LAYERS")
    got = read(*names, NEURASCALE_HOME=str(tmp_path), REDIS_URL=url)
    assert got["VALKEY_IS_EMBEDDED"] is False
    assert got["CELERY_BROKER_URL"] == got["CELERY_RESULT_BACKEND"] == url
    assert got["CHANNEL_LAYERS"]["default"]["CONFIG"]["hosts"] == [url]


def test_the_socket_fits_into_the_kernels_108_bytes_however_deep_the_data_folder_lies(tmp_path):
    deep = tmp_path / ("a" * 60) / ("b" * 60)
    socket = read("VALKEY_SOCKET", NEURASCALE_HOME=str(deep))["VALKEY_SOCKET"]
    other = read("VALKEY_SOCKET", NEURASCALE_HOME=str(deep / "c"))["VALKEY_SOCKET"]
    assert len(socket.encode()) < 108
    assert socket != other


@pytest.mark.parametrize("url", ["", "sqlite:////srv/lab.sqlite3"])
def test_sqlite_keeps_what_was_committed_whichever_way_it_was_named(tmp_path, url):
    given = {"DATABASE_URL": url} if url else {}
    database = read("DATABASES", NEURASCALE_HOME=str(tmp_path), **given)["DATABASES"]["default"]
    assert database["NAME"] == (url.removeprefix("sqlite:///") or f"{tmp_path}/neurascale.sqlite3")
    assert "journal_mode=WAL" in database["OPTIONS"]["init_command"]
    assert "synchronous=FULL" in database["OPTIONS"]["init_command"]
    assert database["OPTIONS"]["transaction_mode"] == "IMMEDIATE"


def test_postgresql_is_taken_from_its_url(tmp_path):
    url = "postgresql://lab:secret@db.example.org/lab"
    got = read("DATABASES", NEURASCALE_HOME=str(tmp_path), DATABASE_URL=url)["DATABASES"]
    assert got["default"]["ENGINE"] == "django.db.backends.postgresql"
    assert (got["default"]["HOST"], got["default"]["NAME"]) == ("db.example.org", "lab")
    assert "init_command" not in got["default"].get("OPTIONS", {})


@pytest.mark.parametrize(
    ("url", "default"), [("", 0), ("postgresql://lab:secret@db.example.org/lab", 60)]
)
def test_connections_are_kept_for_as_long_as_is_asked(tmp_path, url, default):
    for asked, expected in (({}, default), ({"CONN_MAX_AGE": "7"}, 7)):
        given = {"NEURASCALE_HOME": str(tmp_path), "DATABASE_URL": url, **asked}
        assert read("DATABASES", **given)["DATABASES"]["default"]["CONN_MAX_AGE"] == expected


@pytest.mark.parametrize(("debug", "secure"), [("1", False), ("0", True)])
def test_cookies_leave_production_only_encrypted(tmp_path, debug, secure):
    names = ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE")
    got = read(*names, NEURASCALE_HOME=str(tmp_path), DEBUG=debug)
    assert got == dict.fromkeys(names, secure)


def test_the_readme_lists_every_variable_that_is_read():
    source = (ROOT / "neurascale" / "settings.py").read_text()
    read_there = set(re.findall(r'\benv\.\w+\(\s*"([A-Z_]+)"', source))
    listed = set(re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert len(read_there) > 10
    assert read_there == listed
