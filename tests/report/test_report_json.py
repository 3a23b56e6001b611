"""The JSON: complete, strict, and safe to paste into a page."""

import json
import math
import subprocess
import sys

import pytest
from report_examples import HOSTILE, bare, endless, full, hostile, many

from canonize.report import to_json


def strict(text):
    """What a parser that knows no NaN reads."""

    def refuse(name):
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("audit", [bare(), full(), endless(), hostile(), many(120)], ids=lambda a: a.name[:8])
def test_round_trip(audit):
    found = strict(to_json([audit, bare()]))
    assert found == {"schema": "canonize.audits", "schema_version": 1, "audits": [audit.as_dict(), bare().as_dict()]}


def test_infinities_and_nan_are_strings():
    found = strict(to_json(endless()))["audits"][0]
    assert found["error"]["max"] == found["noise"] == "inf"
    assert found["split"]["share"] == found["metric"]["upright"] == "nan"
    assert found["metric"]["worst_element"] == "-inf"
    # The twin: written without care, the same numbers would not be JSON.
    with pytest.raises(AssertionError, match="Infinity"):
        strict(json.dumps({"error": math.inf}))


def test_nothing_that_a_page_would_read_as_html():
    text = to_json(hostile())
    assert not set(text) & set("<>&\u2028\u2029")
    assert strict(text)["audits"][0]["name"] == HOSTILE


def test_readable_and_ready_for_utf8():
    text = to_json(bare(name="45° \ud800 \u2028"))
    assert "45° \\ud800 \\u2028" in text
    assert text.encode("utf-8")
    assert strict(text)["audits"][0]["name"] == "45° \ud800 \u2028"
    assert '\n  "audits": [\n    {\n' in text
    assert text.endswith("}\n")


def test_equal_audits_give_equal_json():
    assert to_json([full(), endless()]) == to_json([full(), endless()])


def test_needs_none_of_the_extras():
    code = (
        "import sys\n"
        "for name in ('rich', 'matplotlib', 'jinja2', 'PIL', 'numpy'): sys.modules[name] = None\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from report_examples import full\n"
        "from canonize.report import to_json\n"
        "assert to_json(full()).startswith('{')\n"
    )
    folder = __file__.rpartition("/")[0]
    # Without numpy torch warns once; only what is raised counts here.
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_the_report_imports_none_of_the_extras():
    code = (
        "import sys, canonize\n"
        "assert not [name for name in sys.modules if name.startswith('canonize.report')]\n"
        "import canonize.report\n"
        "assert not {'rich', 'matplotlib', 'jinja2'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
