"""A real browser without a window: takes a screenshot of a page, and tells what it drew."""

from __future__ import annotations

import html
import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

INSTALL: Final = Path(__file__).with_name("install-chromium.sh")
FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
LIMIT_SECONDS: Final = 90
# Boxes as the browser laid them out, in CSS pixels; `wide` names what sticks out of the page to the right.
PROBE: Final = """
<script>
  const box = (e) => { const b = e.getBoundingClientRect(); return {width: b.width, height: b.height}; };
  const found = {
    plots: [...document.querySelectorAll("figure[data-plot]")].map((figure) => ({
      key: figure.dataset.plot,
      box: box(figure.querySelector("svg")),
      label: figure.querySelector("[role=img]").getAttribute("aria-label"),
      data: [...figure.querySelectorAll("[id^=data-]")].map((mark) => ({id: mark.id, box: box(mark)})),
    })),
    wide: [...document.querySelectorAll("main *")].filter((e) =>
      e.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && !e.closest(".scroll, svg")
    ).map((e) => e.tagName),
    headline: document.querySelector(".lead").textContent.trim(),
    images: [...document.images].length,
    duplicated: [...document.querySelectorAll("[id]")].map((e) => e.id)
      .filter((id, place, all) => all.indexOf(id) !== place),
  };
  const out = document.createElement("pre");
  out.id = "probe";
  out.textContent = JSON.stringify(found);
  document.body.append(out);
</script>
"""


def install() -> None:
    """Make sure that there is a browser; raises RuntimeError with what to do where it cannot be installed."""
    done = subprocess.run([INSTALL], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())


def screenshot(page: Path, picture: Path, *, width: int, height: int) -> None:
    """Write a PNG of the first `height` pixels of the page."""
    _chromium(f"--screenshot={picture}", f"--window-size={width},{height}", page.as_uri())


def probe(page: Path, *, width: int = 1100) -> dict[str, Any]:
    """What the browser made of the page, see PROBE."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "page.html"
        copy.write_text(page.read_text().replace("</body>", PROBE + "</body>"))
        dumped = _chromium("--dump-dom", f"--window-size={width},900", copy.as_uri())
    found = re.search(r'<pre id="probe">(.*?)</pre>', dumped, re.DOTALL)
    assert found, "the browser did not run the probe"
    told: dict[str, Any] = json.loads(html.unescape(found[1]))
    return told


def _chromium(*arguments: str) -> str:
    with tempfile.TemporaryDirectory() as profile:
        command = ["chromium", *FLAGS, f"--user-data-dir={profile}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=True)
    return done.stdout
