"""Every field of the schema says what it needs, and nobody gets it without."""

from __future__ import annotations

import re

import pytest
from graphql import (
    GraphQLInterfaceType,
    GraphQLNonNull,
    GraphQLObjectType,
    get_named_type,
    is_leaf_type,
)

from neurascale import graphql
from neurascale.core.auth import Scope, required_scopes
from neurascale.core.graphql.declare import needs_of
from tests.graphql.asking import post, refused, snake
from tests.ingest.factories import make_device
from tests.ingest.rest import Program
from tests.routes import SAFE, paths

pytestmark = pytest.mark.django_db

SCHEMA = graphql.schema._schema
ROOTS = {SCHEMA.query_type, SCHEMA.mutation_type, SCHEMA.subscription_type}
COMPOSITE = [
    kind
    for name, kind in SCHEMA.type_map.items()
    if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType) and not name.startswith("__")
]
FIELDS = [(kind, name) for kind in COMPOSITE for name in kind.fields]
# What whoever is known may select: they hold nothing, what they lead to says what it needs.
FREE = {"Node", "PageInfo", "Query.node"}
# The request of REST that changes the same: its view's name, and the method.
REST = {
    "registerDevice": ("device-list", "POST"),
    "changeDevice": ("device-detail", "PATCH"),
    "removeDevice": ("device-detail", "DELETE"),
    "connectDevice": ("device-connect", "POST"),
    "disconnectDevice": ("device-disconnect", "POST"),
    "startStream": ("device-start", "POST"),
    "stopStream": ("device-stop", "POST"),
    "createSession": ("session-list", "POST"),
    "changeSession": ("session-detail", "PATCH"),
    "deleteSession": ("session-detail", "DELETE"),
    "startSession": ("session-start", "POST"),
    "pauseSession": ("session-pause", "POST"),
    "resumeSession": ("session-resume", "POST"),
    "stopSession": ("session-stop", "POST"),
    "addEvent": ("event-list", "POST"),
    "devices": ("device-list", "GET"),
    "device": ("device-detail", "GET"),
    "ports": ("discover", "GET"),
    "sessions": ("session-list", "GET"),
    "session": ("session-detail", "GET"),
    "studies": ("study-list", "GET"),
    "study": ("study-detail", "GET"),
    "subjects": ("subject-list", "GET"),
    "subject": ("subject-detail", "GET"),
    "clients": ("client-list", "GET"),
    "client": ("client-detail", "GET"),
    "auditLog": ("audit-list", "GET"),
    "createStudy": ("study-list", "POST"),
    "changeStudy": ("study-detail", "PATCH"),
    "addMember": ("member-list", "POST"),
    "removeMember": ("member-detail", "DELETE"),
    "createClient": ("client-list", "POST"),
    "changeClient": ("client-detail", "PATCH"),
    "deleteClient": ("client-detail", "DELETE"),
    "rotateClient": ("client-rotate", "POST"),
    "revokeClient": ("client-revoke", "POST"),
    "withdrawSubject": ("subject-withdraw", "POST"),
    "event": ("event-list", "GET"),
    "events": ("event-list", "GET"),
    "stream": ("device-status", "GET"),
    "streams": ("device-status", "GET"),
}
# What REST changes and GraphQL does not: tokens are got and given back by who shows a secret and
# has no token yet, arrays have forms of their own.
ONLY_REST = {"token", "token-revoke", "ingest"}
# Where GraphQL lists what REST lists.
LISTS = {
    "device-list": "Query.devices",
    "session-list": "Query.sessions",
    "study-list": "Query.studies",
    "subject-list": "Query.subjects",
    "client-list": "Query.clients",
    "audit-list": "Query.auditLog",
    "event-list": "Session.events",
    "member-list": "Study.members",
}
ROUTES = {path.name: path for path in paths()}


def value_for(argument):
    """Return a literal that an argument takes, as far as types go."""
    kind = get_named_type(argument.type)
    if hasattr(kind, "fields"):
        needed = [
            f"{name}: {value_for(field)}"
            for name, field in kind.fields.items()
            if isinstance(field.type, GraphQLNonNull)
        ]
        return "{" + ", ".join(needed) + "}"
    return {"Int": "1", "Long": "1", "Boolean": "true"}.get(kind.name, '"x"')


def selection_of(kind, name):
    """Return a selection of a field with nothing in it that needs more than the field itself."""
    field = kind.fields[name]
    given = [
        f"{argument}: {value_for(known)}"
        for argument, known in field.args.items()
        if isinstance(known.type, GraphQLNonNull)
    ]
    arguments = f"({', '.join(given)})" if given else ""
    inner = "" if is_leaf_type(get_named_type(field.type)) else " { __typename }"
    return f"{name}{arguments}{inner}"


def operation_with(kind, name):
    """Return an operation that selects a field; of types that no root leads to, through a node."""
    if kind in ROOTS:
        return f"{kind.name.lower()} {{ {selection_of(kind, name)} }}"
    return (
        f'{{ node(id: "x") {{ ...F }} }} fragment F on {kind.name} {{ {selection_of(kind, name)} }}'
    )


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=str)
def test_every_field_says_what_it_needs(kind, name):
    needs = needs_of(kind, kind.fields[name])
    assert needs is not None, "neither the field nor its type says which scope it needs"
    container = re.search("(Connection|Edge)$", kind.name)
    if not container and not {kind.name, f"{kind.name}.{name}"} & FREE:
        assert needs, "whoever is known could read it"


@pytest.mark.parametrize("kind", COMPOSITE, ids=str)
def test_nobody_gets_a_field_without_its_scopes(kind):
    for name, field in kind.fields.items():
        needs = needs_of(kind, field)
        if not needs or kind is SCHEMA.subscription_type:
            continue  # over WebSocket: tests/graphql/test_sockets.py
        without = Program(*(set(Scope) - needs - {Scope.ADMIN}))
        error = refused(without, operation_with(kind, name), "PERMISSION_DENIED")
        assert error["extensions"]["details"]["missing"] == sorted(needs)
        assert f"{kind.name}.{name}" in error["message"]


def test_a_field_deep_inside_is_refused_before_anything_is_read_or_changed():
    device = make_device()
    operator = Program("devices:control", "devices:read")
    query = """mutation($id: ID!) { changeDevice(id: $id, input: {name: "new"}) {
        name ...Rest } } fragment Rest on Device { sessions { nodes { ... on Node { id } } } }"""
    error = refused(operator, query, "PERMISSION_DENIED", id=device.public_id)
    assert error["extensions"]["details"]["missing"] == ["sessions:read"]
    device.refresh_from_db()
    assert device.name == "Cyton"


def test_what_a_change_returns_is_read_with_the_scope_to_read_it():
    device = make_device()
    blind = Program("devices:control")
    query = 'mutation($id: ID!) { changeDevice(id: $id, input: {name: "new"}) { %s } }'
    refused(blind, query % "name", "PERMISSION_DENIED", id=device.public_id)
    assert post(blind, query % "__typename", id=device.public_id).json()["data"]


def test_a_field_that_nobody_declared_is_nobodys(monkeypatch, caplog):
    make_device()
    device = SCHEMA.type_map["Device"]
    monkeypatch.delattr(device.extensions["strawberry-definition"].origin, "needs")
    error = refused(Program("admin"), "{ devices { nodes { name } } }", "INTERNAL_ERROR")
    assert "Device.name" in error["message"]
    assert "Device.name" in caplog.text


@pytest.mark.parametrize("name", REST)
def test_what_rest_does_too_needs_the_same(name, rf):
    root = SCHEMA.mutation_type if name in SCHEMA.mutation_type.fields else SCHEMA.query_type
    view_name, method = REST[name]
    view = ROUTES[view_name].instance(method)
    request = rf.generic(method, "/")
    assert needs_of(root, root.fields[name]) == required_scopes(request, view)


def test_every_root_field_has_its_counterpart_and_every_change_of_rest_its_mutation():
    roots = {*SCHEMA.query_type.fields, *SCHEMA.mutation_type.fields}
    assert roots == {*REST, "node"}
    changes = {(path.name, method) for path in paths() for method in path.methods - SAFE}
    covered = {REST[name] for name in SCHEMA.mutation_type.fields}
    assert {name for name, _ in changes - covered} == ONLY_REST
    assert covered <= changes


def test_every_list_of_rest_has_its_connection_with_the_same_filters_and_orders():
    listing = {path.name: path.view for path in paths() if path.actions.get("get") == "list"}
    assert listing.keys() == LISTS.keys()
    for name, view in listing.items():
        kind, field_name = LISTS[name].split(".")
        field = SCHEMA.type_map[kind].fields[field_name]
        assert get_named_type(field.type).name.endswith("Connection")
        filters = get_named_type(field.args["filter"].type).fields
        assert {snake(known) for known in filters} == set(view.filter_fields)
        orders = get_named_type(field.args["orderBy"].type).values
        rising = {known.lower() for known in orders if not known.endswith("_DESC")}
        assert rising == set(view.ordering_fields)


def test_a_token_that_was_narrowed_may_less_than_its_client():
    from neurascale.core.auth import issue_tokens

    program = Program("admin")
    token = issue_tokens(program.client, ["sessions:read"])["access_token"]
    program.http.defaults["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    refused(program, "{ devices { totalCount } }", "PERMISSION_DENIED")
    assert post(program, "{ sessions { totalCount } }").json()["data"]
