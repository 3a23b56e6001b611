"""A browser for tests of the report's page."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest


@contextlib.contextmanager
def browser(**options: Any) -> Any:
    """A page of the system's Chromium without a network; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = next((path for path in map(Path, ("/usr/bin/chromium", "/usr/bin/google-chrome")) if path.exists()), None)
    with playwright.sync_playwright() as engine:
        try:
            opened = engine.chromium.launch(
                executable_path=None if program is None else str(program), args=["--no-sandbox"]
            )
        except playwright.Error as error:
            pytest.skip(f"no Chromium: {str(error).splitlines()[0]}")
        try:
            yield opened.new_context(offline=True, **options).new_page()
        finally:
            opened.close()
