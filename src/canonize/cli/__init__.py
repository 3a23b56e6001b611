"""The command line: `canonize demo`, `canonize audit`, `canonize adapt`, `canonize dedupe`, `canonize groups`."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Run the command line; says what to install where the extra is missing."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that knows no more than ASCII shows a question mark, and the verdict is still told.
        sys.stdout.reconfigure(errors="replace")
    try:
        from canonize.cli.app import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "canonize":
            raise
        sys.stderr.write(f"canonize: the command line needs {error.name}. Install it: pip install 'canonize[cli]'\n")
        # Not 1, which says that a model failed.
        sys.exit(2)
    app()
