"""In which form an answer is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from django.http.request import MediaType
from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from neurascale.core.errors import InvalidError

ANYTHING = (None, "", "*/*")  # nothing said is as good as anything (RFC 9110, section 12.5.1)


class Negotiation(DefaultContentNegotiation):
    """``Accept`` as RFC 9110 has it, and ``?output=npy`` where a view has more than one form.

    REST framework's own takes no notice of q. Django's `HttpRequest.get_preferred_type` does, but
    gives what q=0 excludes as soon as a wider range takes it in; its `MediaType` reads the header.
    """

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        """Return the renderer that is liked best, and its media type.

        Raises
        ------
        NotAcceptable
            If none is liked.
        InvalidError
            If there is no ``output`` of that name.
        """
        forms = list(renderers)
        if len(forms) > 1 and (asked := request.query_params.get("output")) is not None:
            (form,) = self.filter_renderers(forms, asked)
            return form, form.media_type  # where a header is hard to set it says anything
        accept = request._request.META.get("HTTP_ACCEPT")
        if accept in ANYTHING or accept == forms[0].media_type:
            return forms[0], forms[0].media_type
        found = preferred(forms, ranges_of(*self.get_accept_list(request)))
        if found is None:
            raise NotAcceptable(available_renderers=forms)
        return found, found.media_type

    def filter_renderers(
        self,
        renderers: Iterable[BaseRenderer],
        format: str,  # noqa: A002 (DRF names it)
    ) -> list[BaseRenderer]:
        """Return the renderers of a form; the error names all there are."""
        found = [renderer for renderer in renderers if renderer.format == format]
        if not found:
            known = [renderer.format for renderer in renderers]
            told = " or ".join(known)
            raise InvalidError(
                f"There is no output {format!r}",
                fields={"output": [f"Must be {told}."]},
                suggestion=f"Send output as {told}, or leave it out for {known[0]}.",
            )
        return found


@lru_cache(maxsize=256)
def ranges_of(*items: str) -> Sequence[MediaType]:
    """Return the media ranges of an ``Accept`` header, without those that cannot be read."""
    ranges = []
    for item in items:
        try:
            ranges.append(MediaType(item.lower()))
        except ValueError:  # a parameter in an encoding that there is not
            continue
    return tuple(ranges)


def preferred(forms: Sequence[BaseRenderer], ranges: Sequence[MediaType]) -> BaseRenderer | None:
    """Return the form that is liked best, None if none is liked at all.

    Of those liked as much, one that is named comes before one that only a wildcard takes in, and
    then that which the view has first.
    """
    found, best = None, (0.0, 2)
    for form in forms:
        liking = liking_of(form.media_type, ranges)
        if liking > best:
            found, best = form, liking
    return found


def liking_of(media_type: str, ranges: Sequence[MediaType]) -> tuple[float, int]:
    """Return the q of the most specific range that takes a form in, and how specific it is.

    No form of ours has parameters. A range that has some, such as ``charset=utf-8``, is taken for
    one without, unless it excludes: then it is something else that is not wanted.
    """
    main, _, sub = media_type.partition("/")
    suited = [
        ((kind.main_type != "*") + (kind.sub_type != "*"), not kind.range_params, kind.quality)
        for kind in ranges
        if kind.main_type in {main, "*"}
        and kind.sub_type in {sub, "*"}
        and (kind.quality > 0 or not kind.range_params)
    ]
    specific, _, quality = max(suited, default=(0, False, 0.0))
    return quality, specific
