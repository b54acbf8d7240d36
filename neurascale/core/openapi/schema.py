"""From views to the document: one inspector for all of them, and no line a view."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, cached_property
from http import HTTPStatus
from typing import Any, get_type_hints

import uritemplate
from django.conf import settings
from drf_spectacular import openapi
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.plumbing import ResolvedComponent
from rest_framework.fields import JSONField
from rest_framework.viewsets import ViewSetMixin

from neurascale.core.auth import HasScope, required_scopes
from neurascale.core.openapi import conventions, errors, parameters
from neurascale.core.openapi.examples import printed_for, seed_examples
from neurascale.core.openapi.links import add_links
from neurascale.core.openapi.operation import Operation, Schema, said_of
from neurascale.core.openapi.shapes import BYTES, schema_of, summary_of
from neurascale.core.paging import CursorPaging

JSON = "application/json"
OTHER_METHODS = "x-other-methods"  # of a path: the answer to methods that it does not have
BODIES = ("POST", "PUT", "PATCH")
STATUSES = {"create": HTTPStatus.CREATED, "destroy": HTTPStatus.NO_CONTENT}
USUAL = {  # what REST framework's mixins do, which have no docstrings
    "list": "List {plural}",
    "retrieve": "Read one of the {plural}",
}
AS_PRINTED = {"summary": "As the documentation prints it; an answer has all fields of its schema."}
PAGINATION: Schema = {
    "type": "object",
    "description": "Where the neighbours of a page are.",
    "required": ["next", "previous", "total"],
    "properties": {
        "next": {"type": ["string", "null"], "format": "uri"},
        "previous": {"type": ["string", "null"], "format": "uri"},
        "total": {"type": "integer", "minimum": 0, "description": "On all pages together."},
    },
}


class BearerScheme(OpenApiAuthenticationExtension):
    """How programs say who they are."""

    target_class = "neurascale.core.auth.ClientTokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: openapi.AutoSchema) -> Schema:
        """Return the scheme."""
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "An access token from `POST /v1/auth/token`.",
        }


class PortalScheme(OpenApiAuthenticationExtension):
    """How people say who they are."""

    target_class = "neurascale.core.auth.PortalSessionAuthentication"
    name = "portalSession"

    def get_security_definition(self, auto_schema: openapi.AutoSchema) -> Schema:
        """Return the scheme."""
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "The session of somebody who is logged in to the portal; whatever "
            f"changes something needs the header `X-CSRFToken` with the value of the cookie "
            f"`{settings.CSRF_COOKIE_NAME}` too.",
        }


class AutoSchema(openapi.AutoSchema):
    """Describes one operation of one view; one instance a view and method."""

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: Any
    ) -> Schema:
        """Return the operation."""
        self.registry, self.path, self.path_regex = registry, path, path_regex
        self.path_prefix, self.method = path_prefix, method.upper()
        self.said: Operation = said_of(self.view, method)
        self.printed = printed_for(self.method, path)
        tokens = self._tokenize_path()
        operation: Schema = {
            "operationId": self.get_operation_id(),
            "tags": tokens[:1],
            "summary": self.get_summary(),
            "description": self.get_description(),
            "parameters": self._parameters(),
        }
        if self.said.takes is not None:
            operation["requestBody"] = self._body()
        operation["security"] = self.get_auth()
        operation["responses"] = self._responses()
        if self.scopes:
            operation["x-required-scopes"] = sorted(self.scopes)
        operation[OTHER_METHODS] = {
            str(errors.NOT_ALLOWED.status): self._error([errors.NOT_ALLOWED])
        }
        return operation

    # --- Who and what ----------------------------------------------------------------------------

    @cached_property
    def action(self) -> str:
        """What the view calls what it does."""
        return getattr(self.view, "action", None) or self.method.lower()

    @cached_property
    def scopes(self) -> frozenset[str]:
        """What the caller must be allowed to do."""
        if not any(isinstance(asked, HasScope) for asked in self.view.get_permissions()):
            return frozenset()
        return frozenset(map(str, required_scopes(self.view.request, self.view)))

    @cached_property
    def is_list(self) -> bool:
        """Whether this answers with a page of things."""
        return (
            self.action == "list" and getattr(self.view, "pagination_class", None) is CursorPaging
        )

    def get_operation_id(self) -> str:
        """Return a name: of the path where that is a verb, else with what is done to it."""
        name = "_".join(self._tokenize_path()).replace("-", "_")
        usual = {"list", "create", *self.method_mapping.values()}
        if isinstance(self.view, ViewSetMixin):
            return f"{name}_{self.action}" if self.action in usual else name
        is_thing = self.path.endswith("}")
        return f"{name}_{self.method_mapping[self.method.lower()]}" if is_thing else name

    def get_auth(self) -> list[Schema]:
        """Return who may call this, with the scopes that a token needs."""
        return [
            {name: sorted(self.scopes) if name == BearerScheme.name else [] for name in way}
            for way in super().get_auth()
        ]

    def get_summary(self) -> str:
        """Return the first sentence of the docstring."""
        first = re.split(r"[.;:] |[.;:]?$", self._doc(), maxsplit=1)[0]
        return first.replace("`", "")

    def get_description(self) -> str:  # type: ignore[override]  # as drf-spectacular has it
        """Return the docstring, and what it costs in scopes."""
        needs = " and ".join(f"`{scope}`" for scope in sorted(self.scopes))
        return self._doc() + (f"\n\nNeeds the scope {needs}." if needs else "")

    def _doc(self) -> str:
        """Return what the method, or a view that does one thing only, says of itself."""
        is_one_thing = not isinstance(self.view, ViewSetMixin)
        thing = type(self.view) if is_one_thing else getattr(self.view, self.action)
        usual = USUAL.get(self.action, "").format(plural=getattr(self.view, "plural", ""))
        return summary_of(thing) or usual

    # --- What is read ----------------------------------------------------------------------------

    @cached_property
    def variables(self) -> list[str]:
        """Names in the path."""
        return list(uritemplate.variables(self.path))

    def _parameters(self) -> list[Schema]:
        found = [parameters.in_path(name) for name in self.variables]
        if self.is_list:
            found += parameters.of_list(self.view, self)
        if self.said.query is not None:
            found += parameters.of_serializer(self.said.query, self)
        found += self.said.parameters
        return [*found, *conventions.request_headers(self.view, self.method)]

    def _body(self) -> Schema:
        takes = self.said.takes
        if not (isinstance(takes, Mapping) and all("/" in key for key in takes)):
            takes = dict.fromkeys([p.media_type for p in self.view.get_parsers()], takes)
        content = {name: self._content(shape, "request") for name, shape in takes.items()}
        if self.printed and self.printed.request is not None and JSON in content:
            content[JSON]["examples"] = {"seed": {"value": self.printed.request}}
        return {"content": content, "required": self.said.needs_body}

    def _content(self, shape: Any, direction: str) -> Schema:
        if shape is bytes:
            return {"schema": BYTES}
        return {"schema": schema_of(shape, self, direction)}

    # --- What is answered ------------------------------------------------------------------------

    def _responses(self) -> Schema:
        status = self.said.status or STATUSES.get(self.action, HTTPStatus.OK)
        good: Schema = {
            "description": status.phrase if isinstance(status, HTTPStatus) else "Done",
            "headers": {
                **{
                    name: {"description": text, "schema": {"type": "string"}}
                    for name, text in self.said.headers.items()
                },
                **conventions.response_headers(self.view, self.method, int(status)),
            },
        }
        if status != HTTPStatus.NO_CONTENT:
            good["content"] = self._good_content()
        codes = errors.codes_of(
            self.view,
            self.method,
            (*self.said.raises, *conventions.raised(self.view, self.method)),
            takes_body=self.said.takes is not None,
            variables=self.variables,
            scopes=self.scopes,
        )
        bare = {
            str(int(number)): {
                "description": number.phrase,
                "headers": conventions.response_headers(self.view, self.method, number),
            }
            for number in conventions.bare_answers(self.view, self.method)
        }
        return {str(int(status)): good, **bare} | {
            str(number): self._error(codes[number]) for number in sorted(codes)
        }

    def _good_content(self) -> Schema:
        gives = self.said.gives
        if gives is None:
            gives = getattr(self.view, "serializer_class", None)
        if gives is None:
            openapi.warn(f"{self.method} {self.path}: nobody says what is answered")
            gives = {}
        if not (isinstance(gives, Mapping) and gives and all("/" in key for key in gives)):
            gives = {JSON: gives}
        content = {name: self._content(shape, "response") for name, shape in gives.items()}
        if self.is_list:
            plural: str = self.view.plural  # type: ignore[attr-defined]
            content = {JSON: {"schema": page_of(plural, content[JSON]["schema"])}}
        if self.printed and self.printed.response is not None:
            content[JSON]["examples"] = {"seed": {**AS_PRINTED, "value": self.printed.response}}
        return content

    def _error(self, codes: list[errors.Code]) -> Schema:
        """Return the response with these codes: a reference, since others have it too."""
        headers = conventions.response_headers(self.view, self.method, codes[0].status)
        special = [name for header, name in conventions.NAMES.items() if header in headers]
        component = ResolvedComponent(
            name=".".join([errors.name_of(codes), *special]),
            type=ResolvedComponent.RESPONSE,
            object=errors.Code,
            schema=errors.response_of(codes, headers, printed_errors()),
        )
        if also := self.said.also.get(codes[0].status):
            component.schema["content"] |= {
                kind: self._content(shape, "response") for kind, shape in also.items()
            }
            return component.schema
        self.registry.register_on_missing(component)
        reference: Schema = component.ref
        return reference

    # --- Schemas ---------------------------------------------------------------------------------

    def _map_serializer_field(
        self, field: Any, direction: Any, bypass_extensions: Any = False
    ) -> Schema:
        """Return the schema of a field; JSON that begins as an object remains one."""
        schema: Schema = super()._map_serializer_field(field, direction, bypass_extensions)
        if isinstance(field, JSONField):
            schema.pop("oneOf", None)  # anything, or null: anything
            model = getattr(getattr(field.parent, "Meta", None), "model", None)
            if model is not None and model._meta.get_field(field.source).default is dict:
                schema |= {"type": "object", "additionalProperties": {}}
        return schema

    def _map_response_type_hint(self, method: Any) -> Schema:
        """Return the schema of what a method of a serializer returns."""
        hint = get_type_hints(method, include_extras=True)["return"]
        schema = schema_of(hint, self)
        return schema if "$ref" in schema else {**schema, "description": summary_of(method)}

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> Schema:
        """Return the schema of a serializer, which says so where it takes nothing else."""
        schema: Schema = super()._map_basic_serializer(serializer, direction)
        if direction == "response":
            schema["required"] = sorted(schema["properties"])  # what is unknown is null
        if direction == "request" and getattr(serializer, "is_strict", False):
            schema["additionalProperties"] = False
        return schema


def page_of(plural: str, thing: Schema) -> Schema:
    """Return the schema of a page of things."""
    return {
        "type": "object",
        "required": [plural, "pagination"],
        "properties": {
            plural: {"type": "array", "items": thing},
            "pagination": {"$ref": "#/components/schemas/Pagination"},
        },
    }


@cache
def printed_errors() -> Mapping[str, Any]:
    """Return the envelopes that the seed document prints, by code."""
    printed = [e.response for e in seed_examples() if isinstance(e.response, dict)]
    return {
        body["error"]["code"]: {"error": {**body["error"], "request_id": "req_mfzwizltoqqho33m"}}
        for body in printed
        if "error" in body
    }


class Generator(SchemaGenerator):
    """Makes the document; says of each path, once, what methods answer that it does not have."""

    def get_schema(self, request: Any = None, public: bool = False) -> Schema:
        """Return the document."""
        result: Schema = super().get_schema(request=request, public=public)
        for item in result["paths"].values():
            told = [operation.pop(OTHER_METHODS) for operation in item.values()]
            item[OTHER_METHODS] = told[0]
        return result


@cache
def document() -> Schema:
    """Return the OpenAPI document of this process, made once."""
    schema: Schema = Generator().get_schema(request=None, public=True)
    return schema


def finish(result: Schema, **_: Any) -> Schema:
    """Add what no single operation can (a hook of drf-spectacular)."""
    schemas = result["components"].setdefault("schemas", {})
    schemas |= {"Error": errors.ENVELOPE, "Pagination": PAGINATION}
    add_links(result)
    return result
