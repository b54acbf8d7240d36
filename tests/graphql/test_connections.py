"""Lists a page at a time: stable while rows come and go, and as many queries for 50 as for 1."""

from __future__ import annotations

import itertools

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ingest.models import Gap, QualityWindow, Segment, Stream
from sessions_app.models import Event, Session
from tests.graphql.asking import ask, refused
from tests.ingest.factories import make_device, make_stream
from tests.ingest.rest import Program

pytestmark = pytest.mark.django_db

PAGE = """query($first: Int, $after: String, $last: Int, $before: String, $order: [DeviceOrder!]) {
    devices(first: $first, after: $after, last: $last, before: $before, orderBy: $order) {
        totalCount nodes { name } edges { cursor node { name } }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    } }"""


@pytest.fixture
def program():
    return Program("admin")


def names(page):
    assert [edge["node"] for edge in page["edges"]] == page["nodes"]
    return "".join(node["name"] for node in page["nodes"])


def pages(program, **variables):
    return ask(program, PAGE, **variables)["devices"]


def test_a_list_is_walked_forwards_and_backwards(program):
    for name in "abcde":
        make_device(name=name)
    walked, after = [], None
    while True:
        page = pages(program, first=2, after=after)
        walked.append((names(page), page["pageInfo"]["hasPreviousPage"]))
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert walked == [("ab", False), ("cd", True), ("e", True)]
    walked, before = [], None
    while True:
        page = pages(program, last=2, before=before)
        walked.append((names(page), page["pageInfo"]["hasNextPage"]))
        before = page["pageInfo"]["startCursor"]
        if not page["pageInfo"]["hasPreviousPage"]:
            break
    assert walked == [("de", False), ("bc", True), ("a", True)]
    assert page["totalCount"] == 5


def test_a_page_stays_where_it_is_while_rows_come_and_go(program):
    made = {name: make_device(name=name) for name in "bdf"}
    cursor = pages(program, first=2)["pageInfo"]["endCursor"]
    made["d"].delete()
    for name in "ace":
        make_device(name=name)
    assert names(pages(program, after=cursor)) == "ef"


def test_the_cursor_of_every_edge_is_its_place(program):
    for name in "abcd":
        make_device(name=name)
    edges = pages(program)["edges"]
    for place, edge in enumerate(edges):
        assert names(pages(program, after=edge["cursor"])) == "abcd"[place + 1 :]
        assert names(pages(program, before=edge["cursor"])) == "abcd"[:place]


def test_the_order_is_that_of_rest_and_a_cursor_belongs_to_it(program):
    for name in "acb":
        make_device(name=name)
    falling = pages(program, order=["NAME_DESC"])
    assert names(falling) == "cba"
    assert names(pages(program, order=["STATUS", "NAME_DESC"])) == "cba"
    cursor = falling["pageInfo"]["startCursor"]
    error = refused(program, PAGE, "VALIDATION_ERROR", after=cursor)
    assert "after" in error["extensions"]["details"]["fields"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"first": 1, "last": 1},
        {"first": 1, "before": "x"},
        {"last": 1, "after": "x"},
        {"after": "nonsense"},
        {"before": "nonsense"},
        {"first": 201},
        {"last": 0},
        {"order": ["COLOUR"]},
    ],
)
def test_a_page_that_makes_no_sense_is_refused(program, wrong):
    assert (
        refused(program, PAGE, "VALIDATION_ERROR", **wrong)["extensions"]["details"]["fields"]
        is not None
    )


def test_a_list_is_filtered_and_searched_as_in_rest(program):
    make_device(name="Cyton one")
    make_device(name="Cyton two", host="lab-2")
    query = """query($f: DeviceFilter, $s: String) {
        devices(filter: $f, search: $s) { totalCount nodes { name } } }"""

    def found(**asked):
        return [node["name"] for node in ask(program, query, **asked)["devices"]["nodes"]]

    assert found(f={"host": "lab-2"}) == ["Cyton two"]
    assert found(s="cyton one") == ["Cyton one"]
    assert found(f={"type": "openbci", "host": None}, s="") == ["Cyton one", "Cyton two"]
    assert found(f={"type": "muse"}) == []
    error = refused(program, query, "VALIDATION_ERROR", f={"status": "asleep"})
    told = program.get("devices", status="asleep").json()["error"]
    assert error["extensions"]["details"] == told["details"]


def test_what_cannot_be_searched_says_so(program):
    stream = make_stream()
    query = 'query($id: ID!) { stream(id: $id) { gaps(search: "lost") { totalCount } } }'
    assert ask(program, query, id=stream.public_id)["stream"]["gaps"]["totalCount"] == 0


# --- lists within lists --------------------------------------------------------------------------


def test_lists_within_lists_are_paged_each_on_its_own(program):
    for n_sessions in (3, 0, 1):
        device = make_device(name=f"with {n_sessions}")
        for number in range(n_sessions):
            program.make_session(device, experiment_type=f"{number}")
    query = """query($after: String, $last: Int, $first: Int) { devices { nodes { name
        sessions(first: $first, after: $after, last: $last, orderBy: [EXPERIMENT_TYPE]) {
            totalCount nodes { experimentType }
            pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } } }"""

    def seen(**asked):
        nodes = ask(program, query, **asked)["devices"]["nodes"]
        return {
            node["name"][-1]: (
                "".join(n["experimentType"] for n in node["sessions"]["nodes"]),
                node["sessions"]["pageInfo"]["hasPreviousPage"],
                node["sessions"]["pageInfo"]["hasNextPage"],
            )
            for node in nodes
        }

    assert seen(first=2) == {
        "3": ("01", False, True),
        "0": ("", False, False),
        "1": ("0", False, False),
    }
    assert seen(last=2) == {
        "3": ("12", True, False),
        "0": ("", False, False),
        "1": ("0", False, False),
    }
    nodes = ask(program, query, first=1)["devices"]["nodes"]
    (cursor,) = [n["sessions"]["pageInfo"]["endCursor"] for n in nodes if n["name"] == "with 3"]
    after = seen(first=1, after=cursor)
    assert after["3"] == ("1", True, True)
    assert [node["sessions"]["totalCount"] for node in nodes] == [0, 1, 3]


NESTED = """{ devices(first: 50) { nodes {
    name currentStatus { streaming samplesLost sessionId stream { streamId device { name } } }
    streams(first: 3) { totalCount nodes {
        streamId device { name } gaps(first: 3) { totalCount nodes { nSamples }
        pageInfo { hasNextPage } } } }
    sessions(first: 3) { totalCount nodes {
        status dataPoints durationSeconds qualityMetrics { artifactPercentage }
        device { name } study { name }
        events(first: 3) { totalCount nodes { label sample session { status } } } } }
} } }"""
times = itertools.count(10**18)


def fill(program, n_devices, n_each):
    for _ in range(n_devices):
        device = make_device()
        for _ in range(n_each):
            status = Session.Status.COMPLETED
            session = program.make_session(device, status=status, start_time=timezone.now())
            stream = make_stream(device, next_sample=500, wanted=Stream.Wanted.STOPPED)
            Segment.objects.create(session=session, stream=stream, first_sample=0, stop_sample=500)
            for number in range(n_each):
                Gap.objects.create(
                    stream=stream, first_sample=10 * number, n_times=2, reason="lost"
                )
                Event.objects.create(
                    session=session,
                    label="cue",
                    time_ns=next(times),
                    stream_id=stream.public_id,
                    sample=number,
                )
            QualityWindow.objects.create(
                stream=stream, first_sample=0, n_times=250, verdicts=["good"], has_artifact=False
            )
        make_stream(device)
        program.make_session(device, status=Session.Status.ACTIVE)


def test_lists_within_lists_take_as_many_queries_for_fifty_as_for_one(program, settings):
    settings.GRAPHQL_MAX_COST = 10**6
    fill(program, 1, 1)
    with CaptureQueriesContext(
        connection,
    ) as few:
        ask(program, NESTED)
    fill(program, 49, 3)
    with CaptureQueriesContext(connection) as many:
        data = ask(program, NESTED)
    lengths = [len(node["sessions"]["nodes"]) for node in data["devices"]["nodes"]]
    assert sorted(lengths) == [2, *([3] * 49)]
    assert len(many) == len(few), [query["sql"][:200] for query in many]
    assert len(many) <= 25


def test_a_list_of_fifty_takes_the_queries_of_a_list_of_one(program, django_assert_num_queries):
    query = "{ sessions(first: 50) { totalCount nodes { status dataPoints device { name } } } }"
    fill(program, 1, 1)
    with CaptureQueriesContext(connection) as few:
        ask(program, query)
    fill(program, 10, 5)
    with django_assert_num_queries(len(few)):
        ask(program, query)
    assert len(few) <= 6  # the token, the page, the count, and three for all recordings' numbers
