"""Lists: each row once, in order, while rows come and go; and clear answers to bad questions."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.http import HttpResponse
from django.test import Client as Browser

from devices.models import Device

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.core.urls")]

DEVICES = "/v1/devices"


def make_device(name: str, **fields: Any) -> Device:
    wiring = {"board": "cyton", "port": f"/dev/{name}", "host": "lab"}
    return Device.objects.create(name=name, **{**wiring, **fields})


@pytest.fixture
def browser(admin_client: Browser) -> Browser:
    return admin_client


def names(response: HttpResponse) -> list[str]:
    assert response.status_code == 200, response.content
    return [device["name"] for device in response.json()["devices"]]


def pages(browser: Browser, url: str | None, *, link: str = "next") -> Iterator[HttpResponse]:
    while url:
        response = browser.get(url)
        yield response
        url = response.json()["pagination"][link]


def fields_of(response: HttpResponse) -> dict[str, Any]:
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "VALIDATION_ERROR")
    return error["details"]["fields"]


def test_an_empty_list_is_a_list(browser):
    empty = {"devices": [], "pagination": {"next": None, "previous": None, "total": 0}}
    assert browser.get(DEVICES).json() == empty


@pytest.mark.parametrize(
    "ordering", ["name", "-name", "status,-name", "-last_seen_at", "last_seen_at", "created_at"]
)
@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_walking_forth_and_back_meets_every_row_once_in_order(browser, ordering, limit):
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for place in range(7):
        seen = None if place % 3 == 0 else now + timedelta(seconds=place // 4)
        status = "error" if place % 2 else "connected"
        make_device("abcdefg"[place], last_seen_at=seen, status=status)
    whole = names(browser.get(f"{DEVICES}?ordering={ordering}"))
    assert sorted(whole) == list("abcdefg")

    forth = list(pages(browser, f"{DEVICES}?ordering={ordering}&limit={limit}"))
    assert [name for page in forth for name in names(page)] == whole
    assert [len(names(page)) for page in forth[:-1]] == [limit] * (len(forth) - 1)
    assert {page.json()["pagination"]["total"] for page in forth} == {7}
    assert forth[0].json()["pagination"]["previous"] is None

    back = list(pages(browser, forth[-1].json()["pagination"]["previous"], link="previous"))
    met = [name for page in reversed(back) for name in names(page)]
    assert met == whole[: len(whole) - len(names(forth[-1]))]
    assert all(page.json()["pagination"]["next"] for page in back)


def test_null_is_the_smallest_value_on_every_database(browser):
    make_device("never")
    make_device("now", last_seen_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert names(browser.get(f"{DEVICES}?ordering=last_seen_at")) == ["never", "now"]
    assert names(browser.get(f"{DEVICES}?ordering=-last_seen_at")) == ["now", "never"]


def test_rows_that_come_and_go_between_pages_move_nothing(browser):
    for name in "bdfhj":
        make_device(name)
    first = browser.get(f"{DEVICES}?limit=2")
    assert names(first) == ["b", "d"]
    make_device("a")
    make_device("e")
    Device.objects.filter(name="d").delete()
    second = browser.get(first.json()["pagination"]["next"])
    assert names(second) == ["e", "f"]
    assert names(browser.get(second.json()["pagination"]["previous"])) == ["a", "b"]


def test_a_page_whose_rows_are_gone_leads_back(browser):
    for name in "abc":
        make_device(name)
    url = browser.get(f"{DEVICES}?limit=2").json()["pagination"]["next"]
    Device.objects.filter(name="c").delete()
    gone = browser.get(url)
    assert names(gone) == []
    assert gone.json()["pagination"]["next"] is None
    assert names(browser.get(gone.json()["pagination"]["previous"])) == ["a", "b"]


def test_fifty_rows_are_a_page_and_two_hundred_the_largest(browser):
    Device.objects.bulk_create(
        Device(name=f"{i:03}", board="cyton", port=f"/dev/{i}", host="lab") for i in range(203)
    )
    assert len(names(browser.get(DEVICES))) == 50
    assert len(names(browser.get(f"{DEVICES}?limit=200"))) == 200


@pytest.mark.parametrize(
    "limit", ["0", "-1", "201", "x", "1.5", "", "1e2", "٣", "9" * 5000, "02000"]
)
def test_a_limit_out_of_range_is_refused(browser, limit):
    assert "limit" in fields_of(browser.get(DEVICES, {"limit": limit}))


@pytest.mark.parametrize("ordering", ["port", "pk", "-", "name,,", "--name", "device__name", "?"])
def test_an_order_that_is_not_offered_is_refused(browser, ordering):
    assert "created_at" in fields_of(browser.get(DEVICES, {"ordering": ordering}))["ordering"][0]


def test_a_changed_cursor_is_refused(browser):
    for name in "ab":
        make_device(name)
    url = browser.get(f"{DEVICES}?limit=1").json()["pagination"]["next"]
    (cursor,) = parse_qs(urlsplit(url).query)["cursor"]
    assert browser.get(DEVICES, {"limit": "1", "cursor": cursor}).status_code == 200
    forged = base64.urlsafe_b64encode(b'[["devices.Device","pk"],[1],false]').decode()
    for bad in ("x", ":", cursor[:-1], "A" + cursor, f"{forged}:abc", "é", "x" * 5000):
        assert "cursor" in fields_of(browser.get(DEVICES, {"limit": "1", "cursor": bad}))


def test_a_cursor_belongs_to_its_order(browser):
    for name in "ab":
        make_device(name)
    url = browser.get(f"{DEVICES}?limit=1").json()["pagination"]["next"]
    assert "cursor" in fields_of(browser.get(f"{url}&ordering=-name"))


def test_fields_filter_exactly(browser):
    make_device("a", status="connected")
    make_device("b", status="error", board="cyton_daisy")
    make_device("bb", status="error")
    assert names(browser.get(f"{DEVICES}?status=error")) == ["b", "bb"]
    assert names(browser.get(f"{DEVICES}?status=error&board=cyton")) == ["bb"]
    assert names(browser.get(f"{DEVICES}?name=b")) == ["b"]
    assert names(browser.get(f"{DEVICES}?type=openbci")) == ["a", "b", "bb"]
    assert names(browser.get(f"{DEVICES}?type=nobody")) == []
    assert browser.get(f"{DEVICES}?status=error&limit=1").json()["pagination"]["total"] == 2


def test_filters_stay_in_the_links(browser):
    for name in "abc":
        make_device(name, status="error" if name != "b" else "connected")
    met = [
        name for page in pages(browser, f"{DEVICES}?status=error&limit=1") for name in names(page)
    ]
    assert met == ["a", "c"]


def test_a_filter_with_a_value_its_field_cannot_have_says_which_it_can(browser):
    assert "streaming" in fields_of(browser.get(f"{DEVICES}?status=asleep"))["status"][0]


def test_a_mistyped_filter_is_refused_and_not_ignored(browser):
    assert "status" in fields_of(browser.get(f"{DEVICES}?stauts=error"))["stauts"][0]
    assert "status" in fields_of(browser.get(f"{DEVICES}?status=error&status=connected"))


@pytest.mark.parametrize(
    ("query", "accepted"),
    [
        ("limit=x", "1 to 200"),
        ("ordering=port", "created_at"),
        ("cursor=x", "pagination.next"),
        ("status=asleep", "streaming"),
        ("stauts=error", "status"),
        ("status=error&status=error", "once"),
    ],
)
def test_a_wrong_parameter_is_told_what_is_accepted(browser, query, accepted):
    error = browser.get(f"{DEVICES}?{query}").json()["error"]
    assert error["code"] == "VALIDATION_ERROR"
    assert accepted in error["details"]["suggestion"]


def test_a_filter_of_true_or_false_says_so(browser):
    error = browser.get("/v1/clients?is_active=maybe").json()["error"]
    assert error["details"]["suggestion"] == "Send is_active=true or is_active=false."


def test_search_finds_every_word_in_any_field(browser):
    make_device("Left Cyton", port="/dev/ttyUSB0")
    make_device("Right Cyton", port="/dev/ttyUSB1")
    assert names(browser.get(f"{DEVICES}?search=cyton")) == ["Left Cyton", "Right Cyton"]
    assert names(browser.get(f"{DEVICES}?search=CYTON usb1")) == ["Right Cyton"]
    assert names(browser.get(f"{DEVICES}?search=100%25")) == []
    assert names(browser.get(f"{DEVICES}?search=")) == ["Left Cyton", "Right Cyton"]
