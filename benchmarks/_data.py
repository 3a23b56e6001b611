"""Where the data of the benchmarks lie; nothing is downloaded."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path


def file_in(data: Path, folder: str, name: str, sources: Mapping[str, str]) -> Path:
    """The path of a file of a folder of the data; ends the program where it is missing and says where to get it."""
    path = data / folder / name
    if not path.is_file():
        raise SystemExit(
            f"missing: {path}\n  what it is: {sources[name]}\n  name the folder that holds {folder}/ with --data PATH, "
            "or in the environment variable CANONIZE_DATA"
        )
    return path


def data_option(parser: argparse.ArgumentParser, folder: str) -> None:
    """The option --data PATH, by default what the environment variable CANONIZE_DATA says."""
    default = os.environ.get("CANONIZE_DATA")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(default) if default else Path("data"),
        metavar="PATH",
        help=f"folder that holds {folder}/ (default: $CANONIZE_DATA, or ./data)",
    )
