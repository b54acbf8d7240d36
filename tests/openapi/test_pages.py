"""The pages that show the API to people, in a real browser, with nothing from elsewhere."""

from urllib.parse import urlsplit

import pytest

from neurascale.core import csp
from neurascale.core.openapi.schema import document
from tests.routes import METHODS

PAGES = {
    "docs": (".opblock-summary-path", csp.SWAGGER_UI),
    "redoc": ("[data-section-id] h2", csp.REDOC),
}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_every_operation_under_a_policy_without_inline(web_pages, chromium, page):
    shown, directives = PAGES[page]
    asked, complaints = [], []
    chromium.on("request", lambda request: asked.append(request.url))
    chromium.on("console", lambda message: complaints.append((message.type, message.text)))
    answer = chromium.goto(f"{web_pages.url}/v1/{page}")
    policy = answer.headers["content-security-policy"]
    assert policy == csp.policy(directives)
    assert "unsafe" not in policy
    chromium.wait_for_selector(shown)
    text = chromium.text_content("body").replace("\N{ZERO WIDTH SPACE}", "")
    for path, item in document()["paths"].items():
        assert path in text
        for method in item.keys() & set(METHODS):
            assert item[method]["summary"] in text
    assert [told for told in complaints if told[0] in {"error", "warning"}] == []
    hosts = {urlsplit(url).netloc for url in asked if not url.startswith(("data:", "blob:"))}
    assert hosts == {urlsplit(web_pages.url).netloc}


def test_a_request_is_tried_out_in_swagger_ui(web_pages, chromium):
    chromium.goto(f"{web_pages.url}/v1/docs#/devices/devices_list")
    chromium.click("button.try-out__btn")
    with chromium.expect_response(lambda response: "/v1/devices" in response.url) as answer:
        chromium.click("button.execute")
    assert answer.value.status == 401
    chromium.wait_for_selector("text=NOT_AUTHENTICATED")


def test_redoc_finds_what_is_searched_for(web_pages, chromium):
    chromium.goto(f"{web_pages.url}/v1/redoc")
    chromium.fill("input[type=text]", "register")
    chromium.wait_for_selector("[data-role='search:results'] >> text=Register a device")
