"""The page in a real browser: it opens offline, every tab turns its input, and errors are words on the page."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the playground needs gradio")
sync_api = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright")

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome is installed")

GUARD = """
import os, socket
_connect = socket.socket.connect
def connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "localhost", "::1", "0.0.0.0"):
        with open(os.environ["OUTSIDE"], "a") as log:
            log.write(f"{address}\\n")
        raise OSError("outside")
    return _connect(self, address)
socket.socket.connect = connect
"""
"""Read by Python as it starts: whatever the server asks of another machine is refused, and written down."""


COMMAND = """
from canonize.cli import main, playground
playground.digit_kind.__kwdefaults__.update(epochs=1)
main()
"""
"""The command as it is, but for the length of the training: what is tested holds for any weights."""


def local(address: str) -> bool:
    return bool(re.match(r"(data|blob|about):|(https?|wss?)://(127\.0\.0\.1|localhost)[:/]", address))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a running playground, and the file with what its server wanted from outside."""
    folder = tmp_path_factory.mktemp("playground")
    (folder / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    outside, log = folder / "outside", folder / "log"
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "OUTSIDE": str(outside),
        "GRADIO_TEMP_DIR": str(folder / "dropped"),
        "OMP_NUM_THREADS": "1",
    }
    with log.open("wb") as opened:
        command = [sys.executable, "-c", COMMAND, "playground", "--port", str(port)]
        server = subprocess.Popen(command, stdout=opened, stderr=subprocess.STDOUT, env=environment)
    try:
        end = time.monotonic() + 300
        while f":{port}" not in log.read_text(encoding="utf-8", errors="replace"):
            assert server.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < end, log.read_text(encoding="utf-8")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}", outside
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


class Page:
    """A tab of the browser that writes down what must not happen."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.outside: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: local(request.url) or self.outside.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        # Several times what an idle machine needs: tests run side by side.
        page.set_default_timeout(90_000)
        page.goto(address)
        page.wait_for_selector("#image-plain")

    def open(self, name: str) -> None:
        self.page.get_by_role("tab", name=name.capitalize()).click()
        self.page.wait_for_selector(f"#{name}-plain:visible")

    def read(self, place: str) -> str:
        return self.page.inner_text(f"#{place}")

    def picture(self, name: str, which: int) -> str:
        return self.page.locator(f"#{name}-view figure").nth(which).inner_html()

    def stop(self, name: str) -> int:
        """The position that the page shows."""
        return int(self.page.locator(f"#{name}-view .pg").get_attribute("data-at"))

    def slide(self, name: str, stop: int) -> None:
        """Move the slider, and wait until the page has followed."""
        box = self.page.locator(f"#{name}-slider input[type=number]")
        box.fill(str(stop))
        box.press("Enter")
        self.until(lambda: self.stop(name) == stop)

    def until(self, true: Any) -> None:
        end = time.monotonic() + 60
        while not true():
            assert time.monotonic() < end, "the page did not follow"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.mark.parametrize("width", [1280, 600])
def test_every_tab_turns_and_the_symmetrized_answer_stays(
    served: tuple[str, Path], browser: Any, tmp_path: Path, width: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900})
    seen = Page(context.new_page(), served[0])
    for name, stops in (("image", (90, 180)), ("molecule", (60, 195)), ("graph", (3, 11))):
        seen.open(name)
        plain, mended = [seen.read(f"{name}-plain")], [seen.read(f"{name}-symmetrized")]
        canonical = [seen.picture(name, -1)]
        for stop in stops:
            seen.slide(name, stop)
            plain.append(seen.read(f"{name}-plain"))
            mended.append(seen.read(f"{name}-symmetrized"))
            canonical.append(seen.picture(name, -1))
        assert len(set(plain)) > 1, plain
        assert len(set(mended)) == 1, mended
        assert len(set(canonical)) == 1
        assert seen.page.locator(f"#{name}-poses tbody tr").count() >= 1
        assert seen.read(f"{name}-margin")
        assert seen.page.locator(f"#{name}-view .pg-chart").count() == 2
        # Nothing is wider than the page.
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        picture = tmp_path / f"{name}-{width}.png"
        seen.page.screenshot(path=str(picture), full_page=True)
        assert picture.stat().st_size > 10_000
    assert not seen.outside
    assert not seen.errors
    # The twin: a request that does leave is seen.
    seen.page.evaluate("fetch('http://192.0.2.1/').catch(() => 0), 0")
    seen.until(lambda: seen.outside == ["http://192.0.2.1/"])
    context.close()


def test_settings_samples_and_files(served: tuple[str, Path], browser: Any, tmp_path: Path) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    seen = Page(context.new_page(), served[0])
    seen.open("molecule")
    before = seen.read("molecule-symmetrized")
    shown = seen.picture("molecule", 0)
    seen.page.get_by_label("diagonal").check()
    seen.slide("molecule", 120)
    assert seen.picture("molecule", 0) != shown
    # Two changes in quick succession: the answer to the first, which takes longer, must not stand over the second.
    seen.page.get_by_label("z", exact=True).check()
    seen.slide("molecule", 240)
    time.sleep(1)
    assert seen.stop("molecule") == 240
    assert seen.read("molecule-symmetrized") == before
    water = tmp_path / "water.xyz"
    water.write_text("3\n\nO 0 0 0.1\nH 0 0.76 -0.5\nH 0 -0.76 -0.5\n", encoding="utf-8")
    seen.page.set_input_files("#molecule-file input[type=file]", str(water))
    seen.until(lambda: seen.page.locator("#molecule-view figure").first.locator("circle").count() == 3)
    assert seen.read("molecule-symmetrized") != before
    sample = seen.page.locator("#molecule-sample input")
    assert sample.input_value() == "file water.xyz", "the sample that was there before is not what is shown"
    pick(seen, "molecule", "methane")
    seen.until(lambda: seen.page.locator("#molecule-view figure").first.locator("circle").count() == 5)
    pick(seen, "molecule", "file water.xyz")
    seen.until(lambda: seen.page.locator("#molecule-view figure").first.locator("circle").count() == 3)
    seen.open("graph")
    bad = tmp_path / "bad.txt"
    bad.write_text("<b>one</b>\n", encoding="utf-8")
    seen.page.set_input_files("#graph-file input[type=file]", str(bad))
    seen.page.wait_for_selector("#graph-view .pg-error")
    message = seen.page.inner_text("#graph-view .pg-error")
    assert "<b>one</b>" in message
    assert "expected:" in message
    assert "Traceback" not in message
    assert seen.page.locator("#graph-view figure").first.locator("circle").count() == 5, "what was there stays"
    assert seen.page.locator("#graph-sample input").input_value() == "house", "a file that was refused is no sample"
    pick(seen, "graph", "Petersen")
    seen.until(lambda: seen.page.locator("#graph-view figure").first.locator("circle").count() == 10)
    assert seen.page.locator("#graph-view .pg-error").count() == 0, "the message is gone"
    seen.open("image")
    torn = tmp_path / "torn.png"
    torn.write_bytes(b"no picture")
    seen.page.set_input_files("#image-file input[type=file]", str(torn))
    seen.page.wait_for_selector("#image-view .pg-error")
    message = seen.page.inner_text("#image-view .pg-error")
    assert "torn.png" in message
    assert "/" not in message, "where the page keeps what is dropped is of no use"
    assert not seen.outside
    assert not seen.errors
    context.close()


def pick(seen: Page, tab: str, name: str) -> None:
    """Choose a sample."""
    seen.page.locator(f"#{tab}-sample input").click()
    seen.page.get_by_role("option", name=name, exact=True).click()


def test_the_server_asks_nothing_of_other_machines(served: tuple[str, Path]) -> None:
    address, outside = served
    assert address
    assert not outside.exists(), outside.read_text(encoding="utf-8")
    # The twin: a connection that does leave is written down.
    code = "import socket\ntry: socket.create_connection(('192.0.2.1', 80), 1)\nexcept OSError: pass"
    environment = {**os.environ, "PYTHONPATH": str(outside.parent), "OUTSIDE": str(outside.parent / "twin")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    assert "192.0.2.1" in (outside.parent / "twin").read_text(encoding="utf-8")
