"""The command line: `canonize demo`, `canonize audit`, `canonize groups`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; says what to install where the extra is missing."""
    try:
        from canonize.cli.app import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "canonize":
            raise
        sys.exit(f"canonize: the command line needs {error.name}. Install it: pip install 'canonize[cli]'")
    app()
