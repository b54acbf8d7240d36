"""The token endpoint: secrets in, tokens out, and tokens withdrawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from neurascale.core import services
from neurascale.core.auth import InvalidTokenError
from neurascale.core.bodies import FormParser, OrjsonParser
from neurascale.core.credentials import InvalidClientError
from neurascale.core.guessing import TooManyAttemptsError
from neurascale.core.idempotency import Idempotency
from neurascale.core.openapi.operation import NOTHING_TO_SAY, Operation
from neurascale.core.serializers import (
    RevocationRequestSerializer,
    TokenRequestSerializer,
    Tokens,
)
from neurascale.core.views.resources import ApiView

NO_STORE = {"Cache-Control": "`no-store`: no cache may keep a token."}
GRANTS: dict[str, Callable[..., dict[str, Any]]] = {
    "client_credentials": services.grant_client_credentials,
    "refresh_token": services.grant_refresh_token,
}


class TokenView(ApiView):
    """Exchange a client's secret, API key or refresh token for an access token."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    parser_classes = (OrjsonParser, FormParser)
    max_body_bytes = 64 * 2**10
    limit = None  # nobody is known here yet
    idempotency = Idempotency.NONE  # a kept answer would be a secret in the database
    operations = {
        "POST": Operation(
            takes=TokenRequestSerializer,
            gives=Tokens,
            raises=(InvalidClientError, InvalidTokenError, TooManyAttemptsError),
            headers=NO_STORE,
        )
    }

    def post(self, request: Request) -> Response:
        """Return ``{"access_token", "token_type", "expires_in", "refresh_token", "scope"}``."""
        asked = TokenRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        tokens = GRANTS[asked.grant](**asked.arguments)
        # RFC 6749, section 5.1: no cache may keep a token.
        return Response(tokens, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})


class RevocationView(ApiView):
    """Withdraw a refresh or access token of one's own (RFC 7009)."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    parser_classes = (OrjsonParser, FormParser)
    max_body_bytes = 64 * 2**10
    limit = None
    idempotency = Idempotency.NONE  # withdrawing twice is withdrawing once
    operations = {
        "POST": Operation(
            takes=RevocationRequestSerializer,
            gives=NOTHING_TO_SAY,
            raises=(InvalidClientError, TooManyAttemptsError),
            headers=NO_STORE,
        )
    }

    def post(self, request: Request) -> Response:
        """Withdraw the token; one that is none, or not one's own, is answered alike."""
        asked = RevocationRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        services.revoke_token(**asked.validated_data)
        return Response({}, headers={"Cache-Control": "no-store"})
