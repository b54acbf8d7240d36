"""Make the pictures of the documentation: `make pictures`.

A lab in a folder of its own, its virtual Cyton, and a browser; nothing is drawn by hand.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.browser import open_page
from tests.lab.running import make_lab
from tests.portal.scope import Portal
from tests.waiting import wait_until

HERE = Path(__file__).resolve().parent
WINDOW = {"width": 1440, "height": 764}  # ends below the scope
N_FRAMES = 70  # from the marker to the picture: it moves well into the screen


def main() -> None:
    """Start a lab, let the signal fill the screen, mark a moment, take the picture."""
    with tempfile.TemporaryDirectory(prefix="ns-pic-") as folder:
        lab = make_lab(Path(folder))
        try:
            lab.start()
            lab.create_client()
            with open_page(viewport=WINDOW) as page:
                portal = Portal(lab, page)
                page.goto(lab.url)
                portal.log_in()
                page.wait_for_url(f"{lab.url}/admin/")
                scope = portal.scope(lab.device_id())
                wait_until(lambda: min(scope.look().inked) > 0.99, what="a full screen")
                scope.button("record").click()
                page.get_by_text("■ Stop recording").wait_for()
                scope.part("label").fill("eyes closed")
                scope.part("label").press("Enter")
                page.get_by_text("Marked").wait_for()
                scope.let_it_draw(N_FRAMES)
                page.screenshot(path=HERE / "scope.png")
        finally:
            lab.stop()


if __name__ == "__main__":
    main()
