"""In which form an answer is written."""

from __future__ import annotations

from collections.abc import Iterable

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from neurascale.core.errors import InvalidError


class OutputNegotiation(DefaultContentNegotiation):
    """``?output=npy`` where a header is hard to set; else ``Accept``."""

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        """Return the renderer that was asked for."""
        asked = request.query_params.get("output")
        if asked == "":  # which REST framework takes for none
            self.filter_renderers(renderers, asked)
        return super().select_renderer(request, renderers, asked or format_suffix)

    def filter_renderers(
        self,
        renderers: Iterable[BaseRenderer],
        format: str,  # noqa: A002 (DRF names it)
    ) -> list[BaseRenderer]:
        """Return the renderers of a form; the error names all there are."""
        found = [renderer for renderer in renderers if renderer.format == format]
        if not found:
            known = " or ".join(renderer.format for renderer in renderers)
            raise InvalidError(
                f"There is no output {format!r}", fields={"output": [f"Must be {known}."]}
            )
        return found
