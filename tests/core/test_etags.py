"""Entity tags: strong, different for what differs, compared as RFC 9110 has it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurascale.core import etags

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(JSON, JSON)
def test_the_same_state_has_the_same_tag_and_another_state_another(one, other):
    assert etags.tag_of_state(one) == etags.tag_of_state(one)
    if repr(one) != repr(other):
        assert etags.tag_of_state(one) != etags.tag_of_state(other)
        assert etags.digest_of([one], other) != etags.digest_of([other], one)


def test_the_order_of_an_objects_fields_is_nothing():
    assert etags.tag_of_state({"a": 1, "b": 2}) == etags.tag_of_state({"b": 2, "a": 1})


def test_a_tag_tells_nothing_without_the_servers_key(settings):
    before = etags.tag_of_state("subject 7")
    settings.SECRET_KEY = "another"
    assert etags.tag_of_state("subject 7") != before


@pytest.mark.parametrize(
    ("header", "gzip", "found"),
    [
        (None, False, None),
        ("", False, None),
        ("*", False, '"a.b"'),
        ('"a.b"', False, '"a.b"'),
        ('W/"a.b"', False, '"a.b"'),  # weak comparison
        ('"x", "a.b"', False, '"a.b"'),
        ('"x","a.b"', False, '"a.b"'),
        ('"x,y", W/"a.b" , "z"', False, '"a.b"'),
        ('"a.c"', False, None),
        ("a.b", False, None),  # not quoted
        ('"a.b', False, None),
        ('"a.b-gzip"', False, None),  # it does not take gzip now
        ('"a.b-gzip"', True, '"a.b-gzip"'),
        ('"a.b"', True, '"a.b"'),
        ('"a.b", "a.b-gzip"', True, '"a.b-gzip"'),
    ],
)
def test_what_a_caller_has_is_found(header, gzip, found):
    assert etags.shown_again(header, '"a.b"', gzip=gzip) == found


@pytest.mark.parametrize(
    ("header", "may"),
    [
        ("*", True),
        ('"a.b"', True),
        ('"a.b-gzip"', True),
        ('"a.c"', True),  # the recording has grown, which no change overwrites
        ('"x.b", "a.b"', True),
        ('"x.b"', False),
        ('W/"a.b"', False),  # strong comparison
        ("", False),
        ("a.b", False),
    ],
)
def test_a_change_may_overwrite_only_what_its_author_saw(header, may):
    assert etags.overwrites(header, '"a.b"') is may


@given(st.text(max_size=60))
def test_no_header_breaks_the_comparison(header):
    etags.shown_again(header, '"a.b"', gzip=True)
    etags.overwrites(header, '"a.b"')
