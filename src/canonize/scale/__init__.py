"""Data sets that do not fit one process: chunks with resume, canonical forms, audits, files that appear whole or not at all."""

from canonize.scale.audits import Merged, audit_chunks
from canonize.scale.chunks import Chunk, Job, chunked, run
from canonize.scale.folder import Folder
from canonize.scale.forms import Canonical, Form, Missing, check_canonical, family
from canonize.scale.measuring import Made, Samples

__all__ = [
    "Canonical",
    "Chunk",
    "Folder",
    "Form",
    "Job",
    "Made",
    "Merged",
    "Missing",
    "Samples",
    "audit_chunks",
    "check_canonical",
    "chunked",
    "family",
    "run",
]
