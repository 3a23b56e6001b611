"""Calls of the commands, as the tests make them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from canonize.cli.app import app


def run(*words: str) -> Any:
    return CliRunner().invoke(app, list(words), env={"COLUMNS": "160"})


def model(place: Path, which: str) -> str:
    return f"{(place / 'name').read_text(encoding='utf-8')}:{which}"


def audit(place: Path, which: str, *options: str, data: str = "data.npz") -> Any:
    return run("audit", which if Path(which).suffix else model(place, which), "--data", data, "--group", "C4", *options)
