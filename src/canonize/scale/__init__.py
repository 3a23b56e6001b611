"""Data sets that do not fit one process: chunks with resume, canonical forms, files that appear whole or not at all."""

from canonize.scale.chunks import Chunk, Job, chunked, run
from canonize.scale.folder import Folder
from canonize.scale.forms import Canonical, Form, Missing, check_canonical, family

__all__ = ["Canonical", "Chunk", "Folder", "Form", "Job", "Missing", "check_canonical", "chunked", "family", "run"]
