"""The site as a reader has it: opened as files in a browser, without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)

pytest.importorskip("material", reason="the site needs mkdocs-material")
playwright = pytest.importorskip("playwright.sync_api", reason="a browser is driven by playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the path")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the site, built with everything but the API."""
    yaml = pytest.importorskip("yaml", reason="pyyaml comes with mkdocs")
    folder = tmp_path_factory.mktemp("site")
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    (folder / "docs").mkdir()
    shutil.copytree(ROOT / "docs" / "assets", folder / "docs" / "assets")
    for page in ("tour.md", "conventions.md"):
        shutil.copy(ROOT / "docs" / page, folder / "docs" / page)
    config |= {"plugins": ["search", "offline"], "nav": ["conventions.md", "tour.md"], "hooks": []}
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "-f", str(folder / "mkdocs.yml")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


def opened(browser: Any, address: str, width: int) -> tuple[Any, list[str]]:
    """A page of the browser, and a list to which it adds every request to a host and every error."""
    page, faults = browser.new_page(viewport={"width": width, "height": 900}), list[str]()
    page.on("request", lambda asked: faults.append(asked.url) if asked.url.startswith("http") else None)
    page.on("requestfailed", lambda asked: faults.append(f"not there: {asked.url}"))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(address, wait_until="load")
    return page, faults


@pytest.mark.parametrize("width", [1280, 420])
def test_a_page_fits_asks_nobody_and_can_be_searched(site: Path, browser: Any, width: int) -> None:
    page, faults = opened(browser, (site / "tour.html").as_uri(), width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width < 960:
        page.locator("header label[for=__search]").first.click()
    page.locator("input.md-search__input").click()
    page.keyboard.type("counter-clockwise")
    first = page.locator(".md-search-result__item a").first
    first.wait_for(state="visible", timeout=20_000)
    assert "conventions.html" in str(first.get_attribute("href"))
    page.close()
    assert faults == []


def test_a_page_that_asks_somebody_is_found(browser: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<script>fetch('http://127.0.0.1:9/x').catch(() => 0)</script><img src='none.png'>", encoding="utf-8"
    )
    page, faults = opened(browser, bad.as_uri(), 800)
    page.wait_for_timeout(200)
    page.close()
    assert any("127.0.0.1" in fault for fault in faults)
    assert any("none.png" in fault for fault in faults)
