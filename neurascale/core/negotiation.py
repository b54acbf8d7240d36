"""In which form an answer is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.http.request import MediaType
from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from neurascale.core.errors import InvalidError

ANY = "*/*"


class QualityNegotiation(DefaultContentNegotiation):
    """``Accept`` as RFC 9110 (section 12.5.1) has it.

    REST framework's own knows no qualities: to it ``a/b;q=0`` asks for a/b.
    """

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        """Return the renderer whose form is wanted most; of several the first.

        Raises
        ------
        NotAcceptable
            If none is wanted at all.
        """
        first, *others = known = list(renderers)
        header = request.META.get("HTTP_ACCEPT", ANY)
        if header in {ANY, "", first.media_type}:  # as of most programs
            return first, first.media_type
        # The closest range is what counts, whatever its quality.
        ranges = sorted(
            map(MediaType, self.get_accept_list(request)),
            key=lambda wanted: -wanted.specificity,
        )
        best, most = first, _quality(first, ranges)
        for renderer in others:
            if (quality := _quality(renderer, ranges)) > most:
                best, most = renderer, quality
        if not most:
            raise NotAcceptable(available_renderers=known)
        return best, best.media_type


def _quality(renderer: BaseRenderer, ranges: Sequence[MediaType]) -> float:
    """Return how much a form is wanted; parameters of ranges narrow nothing, as ours have none."""
    main, _, sub = renderer.media_type.partition("/")
    for wanted in ranges:
        if wanted.main_type in {main, "*"} and wanted.sub_type in {sub, "*"}:
            return float(wanted.quality)
    return 0.0


class OutputNegotiation(QualityNegotiation):
    """``?output=npy`` where a header is hard to set; else ``Accept``."""

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        """Return the renderer that was asked for; the error names all there are."""
        asked = request.query_params.get("output")
        if asked is None:
            return super().select_renderer(request, renderers, format_suffix)
        known = list(renderers)
        for renderer in known:
            if renderer.format == asked:
                return renderer, renderer.media_type
        told = " or ".join(renderer.format for renderer in known)
        raise InvalidError(
            f"There is no output {asked!r}",
            fields={"output": [f"Must be {told}."]},
            suggestion=f"Send output as {told}, or leave it out for {known[0].format}.",
        )
