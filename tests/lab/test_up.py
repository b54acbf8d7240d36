"""`manage.py up`, as a person and as the machine around it meet it."""

import re
import socket
import subprocess
import sys

import httpx
import pytest
from django.core.management import CommandError

from neurascale.management.commands.up import is_loopback
from tests.lab.packets import newest_packet, next_packet, subscribed
from tests.lab.running import PROGRAMS, make_lab
from tests.machine import ROOT
from tests.waiting import wait_until


def test_a_new_lab_has_a_person_who_can_log_in(lab):
    with httpx.Client(follow_redirects=True, timeout=60) as browser:
        assert browser.get(lab.url).url.path == "/admin/login/"
        page = lab.log_in(browser)
        assert page.status_code == 200
        assert page.url.path == "/admin/"
    assert lab.log.count("log in as admin") == 1


def test_a_new_lab_has_a_virtual_cyton_that_streams(lab):
    device = lab.device_id()
    with subscribed(lab, device) as ws:
        first = next_packet(ws)
        second = next_packet(ws)
    assert second["sequence"] == first["sequence"] + 1
    assert len(second["samples"][0]) == 2
    with lab.api() as api:
        assert api.get(f"devices/{device}/status").raise_for_status().json()["status"] == (
            "streaming"
        )


def test_every_line_of_the_log_says_when_and_who(lab):
    names = "|".join({*PROGRAMS, "lab"})
    for line in lab.log.splitlines():
        assert re.match(rf"\d\d:\d\d:\d\d\.\d\d\d ({names}) +│ ", line), line


def test_everything_that_should_run_does(lab):
    assert lab.pids().keys() == PROGRAMS


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_what_is_killed_comes_back_and_the_stream_goes_on(lab, name):
    device = lab.device_id()
    before = newest_packet(lab, device)
    killed = lab.kill(name)
    wait_until(lambda: lab.pids().get(name, killed) != killed, what=f"another {name}")
    assert newest_packet(lab, device, after=before["sequence"])["stream_id"] == before["stream_id"]
    assert lab.supervisor.poll() is None


def test_a_second_lab_in_the_same_folder_is_refused_with_the_pid(lab):
    second = subprocess.run(
        [sys.executable, "manage.py", "up"],
        cwd=ROOT,
        env=lab.environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert second.returncode == 1
    assert f"process {lab.supervisor.pid}" in second.stderr


def test_a_port_that_is_taken_is_named_with_its_setting(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        lab = make_lab(tmp_path, NEURASCALE_PORT=str(port))
        lab.start(wait=False)
        assert lab.supervisor.wait(60) == 1
    assert f"127.0.0.1:{port}" in lab.log
    assert "NEURASCALE_PORT" in lab.log
    assert not (tmp_path / "run" / "processes.json").exists()


def test_a_lab_that_others_can_reach_says_what_that_means_with_debug(tmp_path):
    with socket.create_server(("0.0.0.0", 0)) as taken:  # so that it ends at once
        port = str(taken.getsockname()[1])
        lab = make_lab(tmp_path, NEURASCALE_BIND="0.0.0.0", NEURASCALE_PORT=port)
        lab.start(wait=False)
        assert lab.supervisor.wait(60) == 1
    assert "listens on 0.0.0.0 with DEBUG=1" in lab.log


@pytest.mark.parametrize(
    ("bind", "expected"),
    [("127.0.0.1", True), ("::1", True), ("127.3.2.1", True), ("0.0.0.0", False), ("", False)],
)
def test_only_this_machines_own_programs_reach_a_loopback_address(bind, expected):
    assert is_loopback(bind) is expected


def test_an_address_that_is_not_one_is_named_with_its_setting():
    with pytest.raises(CommandError, match=r"nowhere!.*NEURASCALE_BIND"):
        is_loopback("nowhere!")
