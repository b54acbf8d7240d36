"""A person at the portal, and what that person sees on a scope."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from playwright.sync_api import Locator, Page, WebSocket

from tests.lab.running import Lab

# Pixels of the canvas: where a lane has ink, where something is drawn from top to bottom.
LOOK = """
() => {
  const canvas = document.querySelector('[data-role="canvas"]');
  const { width, height } = canvas;
  const style = getComputedStyle(canvas);
  const left = parseInt(style.getPropertyValue('--scope-left'));
  const bottom = height - parseInt(style.getPropertyValue('--scope-foot'));
  const data = canvas.getContext('2d').getImageData(0, 0, width, height).data;
  const rgb = (name) => {
    const hex = style.getPropertyValue(`--scope-${name}`).trim().slice(1);
    const whole = hex.length === 3 ? [...hex].map((digit) => digit + digit).join('') : hex;
    return [0, 2, 4].map((i) => parseInt(whole.slice(i, i + 2), 16));
  };
  const back = rgb('back');
  const line = rgb('marker');
  const off = (x, y, colour) => {
    const i = 4 * (y * width + x);
    const [red, green, blue] = colour;
    return Math.abs(red - data[i]) + Math.abs(green - data[i + 1]) + Math.abs(blue - data[i + 2]);
  };
  const isLine = (x, colour) => {
    for (let y = 20; y < bottom - 1; y += 1) if (off(x, y, colour) > 6) return false;
    return true;
  };
  const lanes = document.querySelectorAll('[data-role="channels"] b').length;
  const inked = Array.from({ length: lanes }, () => 0);
  let ink = 0;
  let marker = null;
  let hash = 0;
  for (let x = left; x < width; x += 1) {
    if (isLine(x, line)) marker = x;
    for (let lane = 0; lane < lanes; lane += 1) {
      let found = 0;
      const stop = Math.floor(((lane + 1) * bottom) / lanes);
      for (let y = Math.floor((lane * bottom) / lanes); y < stop; y += 1) {
        const isInk = off(x, y, back) > 80;  // more than the grid
        if (isInk) found += 1;
        if (isInk) hash = (hash * 31 + x * height + y) | 0;
      }
      ink += found;
      if (found) inked[lane] += 1 / (width - left);
    }
  }
  return { ink, inked, marker, hash, width: width - left, right: width };
}
"""


class Picture(NamedTuple):
    """What is on the canvas."""

    ink: int  # pixels that belong to no background and no grid
    inked: list[float]  # share of each lane's columns that have any
    marker: int | None  # column of the newest marker
    hash: int
    width: int  # of where signals are
    right: int


@dataclass
class Frames:
    """What went over the page's sockets."""

    sent: list[dict[str, Any]]
    received: list[dict[str, Any]]

    def packets(self) -> list[dict[str, Any]]:
        """Return the messages with samples."""
        return [message for message in self.received if message["type"] == "data"]

    def packets_as_asked(self) -> list[dict[str, Any]]:
        """Return those that came after the answer to the newest subscription; none before it."""
        n_asked = sum(message["type"] == "subscribe" for message in self.sent)
        answers = [i for i, m in enumerate(self.received) if m["type"] == "subscribed"]
        if len(answers) < n_asked:
            return []
        return [m for m in self.received[answers[-1] :] if m["type"] == "data"]

    def news(self, event: str) -> list[dict[str, Any]]:
        """Return what was told of an event."""
        return [m["data"] for m in self.received if m.get("event") == event]


class Portal:
    """The portal in a browser, and a record of all that the browser asked for."""

    def __init__(self, lab: Lab, page: Page) -> None:
        self.lab = lab
        self.page = page
        self.asked: list[str] = []
        self.errors: list[str] = []
        self.frames = Frames([], [])
        page.set_default_timeout(60_000)
        page.context.on("request", lambda request: self.asked.append(request.url))
        page.on("websocket", self._watch)
        page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))

    def _watch(self, socket: WebSocket) -> None:
        self.asked.append(socket.url)
        socket.on("framesent", lambda frame: self.frames.sent.append(json.loads(frame)))
        socket.on("framereceived", lambda frame: self.frames.received.append(json.loads(frame)))

    def foreign(self) -> list[str]:
        """Return what was asked of any other machine."""
        own = f"127.0.0.1:{self.lab.port}"
        urls = [urlsplit(url) for url in self.asked]
        return [u.geturl() for u in urls if u.scheme not in {"data", "blob"} and u.netloc != own]

    def go(self, path: str) -> int:
        """Open a page below /admin/ and return the status of its answer."""
        answer = self.page.goto(f"{self.lab.url}/admin/{path}")
        assert answer is not None
        return answer.status

    def log_in(self) -> None:
        """Fill in the form that is on the page."""
        self.page.get_by_label("Username").fill("admin")
        self.page.get_by_label("Password").fill(self.lab.admin_password)
        self.page.get_by_role("button", name="Log in").click()

    def row(self, table: str, text: str) -> Locator:
        """Open a list, narrowed to one thing, and return its row."""
        self.go(f"{table}/?q={text}")
        rows = self.page.locator("#result_list tbody tr")
        assert rows.count() == 1
        return rows

    def open_row(self, table: str, text: str) -> None:
        """Open the page of one thing."""
        self.row(table, text).locator("th a").click()
        self.page.wait_for_load_state()

    def field(self, label: str) -> str:
        """Return what a page says of its thing under a label."""
        label_of_it = self.page.get_by_text(label, exact=True)
        return self.page.locator(".field-line", has=label_of_it).locator(".readonly").inner_text()

    def tab(self, name: str) -> list[dict[str, str]]:
        """Open the tab of a page and return its rows, by heading."""
        self.page.get_by_role("link", name=name).click()
        table = self.page.locator(f"#{name.lower()}-data")
        table.wait_for()
        heads = [head.strip() for head in table.locator("thead th").all_inner_texts()]
        rows = [row.locator("td").all_inner_texts() for row in table.locator("tr.form-row").all()]
        return [dict(zip(heads, map(str.strip, row), strict=True)) for row in rows]

    def scope(self, device_id: str) -> Scope:
        """Open the page of a device and wait until its scope is connected."""
        self.frames = Frames([], [])
        self.open_row("devices/device", device_id)
        scope = Scope(self.page)
        scope.wait_for_link("open")
        return scope


class Scope:
    """The live scope of the device whose page is open."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def part(self, role: str) -> Locator:
        """Return a part by its role."""
        return self.page.locator(f'#scope [data-role="{role}"]')

    def button(self, name: str) -> Locator:
        """Return a button by what it does."""
        return self.page.locator(f'#scope [data-act="{name}"]')

    def wait_for_link(self, state: str) -> None:
        """Wait until the connection to the server is in a state."""
        self.page.wait_for_selector(f'#scope[data-link="{state}"]')

    def look(self) -> Picture:
        """Return what is on the canvas."""
        return Picture(**self.page.evaluate(LOOK))

    def let_it_draw(self, n_frames: int = 30) -> None:
        """Return after the browser has drawn so many frames."""
        self.page.evaluate(
            """(n) => new Promise((done) => {
              const next = () => { n -= 1; if (n < 0) done(); else requestAnimationFrame(next); };
              next();
            })""",
            n_frames,
        )

    def fps(self) -> int:
        """Return the figure that the scope shows of itself."""
        return int(self.part("facts").inner_text().split(" fps")[0] or 0)
