"""Paths under /v1/ that the core answers."""

from django.urls import path

from neurascale.core.views.documentation import DocsView, RedocView, SchemaView
from neurascale.core.views.tokens import RevocationView, TokenView

urlpatterns = [
    path("auth/token", TokenView.as_view(), name="token"),
    path("auth/revoke", RevocationView.as_view(), name="token-revoke"),
    path("schema", SchemaView.as_view(), name="schema"),
    path("docs", DocsView.as_view(), name="docs"),
    path("redoc", RedocView.as_view(), name="redoc"),
]
