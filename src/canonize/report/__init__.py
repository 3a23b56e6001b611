"""Reports of audits: text, JSON, and one HTML file with pictures.

Importing this imports neither rich nor matplotlib nor jinja2: each verb imports what it needs when it is called, so that
`to_json` works with torch alone.
"""

from canonize.report.verbs import to_html, to_json, to_text, write

__all__ = ["to_html", "to_json", "to_text", "write"]
