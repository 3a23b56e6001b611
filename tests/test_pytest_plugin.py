"""The pytest plugin in projects of its own: properties of JUnit, the table at the end, the seed, and what it does not load."""

import math
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from importlib.metadata import entry_points

import pytest
import torch

from canonize import SO, C, Image, LawError, Scalar, Symmetry, Vector, audit, symmetrize
from canonize.testing import assert_equivariant as check

SEED = 5

PROJECT = """
import pytest
import torch

from canonize import SO, C, Image, LawError, Scalar, Symmetry, Vector, accuracy, symmetrize

torch.manual_seed(0)
turns = Symmetry(C(4), Image(), Scalar())
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
images = torch.rand(24, 1, 4, 4)


def test_holds(assert_equivariant):
    assert assert_equivariant(symmetrize(model, turns), turns, images).laws


def test_broken(assert_equivariant):
    assert_equivariant(model, turns, images)


def test_nan(assert_equivariant):
    with pytest.raises(LawError):
        assert_equivariant(lambda x: x.mean((1, 2, 3)).log1p() * torch.nan, turns, images)


def test_audited(audit_model, record_property):
    record_property("mine", "too")
    labels = torch.arange(24) % 3
    eighths = Symmetry(C(8), Image(), Scalar())
    first = audit_model(model, turns, images, targets=labels, metric=accuracy)
    assert not first.passed
    assert audit_model(model, eighths, images).floor is not None


@pytest.mark.parametrize("number", [0, 1])
def test_drawn(audit_model, number):
    audit_model(lambda x: x[:, :1], Symmetry(SO(2), Vector(), Scalar()), torch.ones(24, 2), elements=2)


def test_of_something_else():
    pass
"""


def run(folder, *options, **more):
    """A fresh pytest in a folder of its own: its properties by test, what it printed, and its exit code."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")} | more
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=found.xml", *options]
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, timeout=120)
    found = {}
    for case in ET.parse(folder / "found.xml").iter("testcase"):
        found[case.get("name")] = {part.get("name"): part.get("value") for part in case.iter("property")}
    return found, done.stdout + done.stderr, done.returncode


@pytest.fixture(scope="module")
def found_and_printed(tmp_path_factory):
    """One run with a seed, in a worker of xdist: what the worker records has to reach the files of the main process."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (folder / "test_models.py").write_text(PROJECT)
    found, printed, code = run(folder, "-n", "1", f"--canonize-seed={SEED}")
    assert code == 1, f"test_broken has to fail\n{printed}"
    return found, printed


@pytest.fixture
def found(found_and_printed):
    return found_and_printed[0]


def claims():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
    return Symmetry(C(4), Image(), Scalar()), model, torch.rand(24, 1, 4, 4)


def test_properties_are_what_the_checks_say(found):
    turns, model, images = claims()
    held = found["test_holds"]
    assert held["canonize.verdict"] == "pass"
    assert float(held["canonize.error"]) == check(symmetrize(model, turns), turns, images).violation
    assert held["canonize.claim"] == repr(turns)
    with pytest.raises(LawError) as broken:
        check(model, turns, images)
    assert found["test_broken"]["canonize.verdict"] == "fail"
    assert float(found["test_broken"]["canonize.error"]) == broken.value.violation > 0.01


def test_nan_is_an_infinite_error(found):
    assert found["test_nan"]["canonize.verdict"] == "fail"
    assert float(found["test_nan"]["canonize.error"]) == math.inf


def test_each_audit_of_a_test_is_told(found):
    turns, model, images = claims()
    facts = found["test_audited"]
    assert facts["mine"] == "too"
    wanted = audit(model, turns, images, cost=False).error
    assert float(facts["canonize.error"]) == wanted.max
    assert float(facts["canonize.error_median"]) == wanted.median
    assert 0 <= float(facts["canonize.metric_mean"]) <= 1
    assert facts["canonize.metric"] == "accuracy"
    assert "canonize.floor" not in facts
    assert float(facts["canonize[2].floor"]) > 0
    assert found["test_of_something_else"] == {}


def test_the_seed_reaches_the_elements_and_each_test_starts_from_it(found):
    claim, errors = Symmetry(SO(2), Vector(), Scalar()), []
    for seed in (SEED, 0):
        draw = torch.Generator().manual_seed(seed)
        model, inputs = (lambda x: x[:, :1]), torch.ones(24, 2)
        errors.append(audit(model, claim, inputs, elements=2, cost=False, generator=draw).error.max)
    for number in (0, 1):
        assert float(found[f"test_drawn[{number}]"]["canonize.error"]) == pytest.approx(errors[0], rel=1e-9)
    assert errors[0] != pytest.approx(errors[1], rel=1e-3)


def test_the_table_at_the_end(found_and_printed):
    _, printed = found_and_printed
    assert "symmetry of models (canonize)" in printed
    table = printed.split("symmetry of models (canonize)")[1].split("test summary")[0]
    rows = {line.split()[-1]: line.split() for line in table.splitlines() if "test_models.py" in line}
    assert rows["test_models.py::test_holds"][0] == "pass"
    assert rows["test_models.py::test_broken"][0] == "fail"
    assert rows["test_models.py::test_nan"][:2] == ["fail", "inf"]
    assert len(rows["test_models.py::test_audited[2]"]) == 4, "verdict, error, floor, test"
    assert "test_of_something_else" not in table


def test_a_failure_shows_the_test_and_not_the_library(found_and_printed):
    _, printed = found_and_printed
    failure = printed.split("FAILURES")[1].split("symmetry of models")[0]
    assert "assert_equivariant(model, turns, images)" in failure
    assert "Sequential breaks its claim f(h x) = h f(x)" in failure
    assert not re.search(r"canonize_pytest\.py|canonize[/\\](testing|errors)", failure), failure


def test_pytest_starts_without_torch(tmp_path):
    (tmp_path / "test_light.py").write_text(
        "import sys\n\ndef test_light():\n    assert 'canonize_pytest' in sys.modules\n"
        "    assert not {'torch', 'canonize', 'numpy'} & set(sys.modules)\n"
    )
    # Other installed plugins may well load NumPy.
    _, printed, code = run(tmp_path, "-p", "canonize_pytest", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert code == 0, printed
    assert "symmetry" not in printed, "no table without checks"


def test_pytest_finds_the_plugin_by_its_entry_point():
    assert [one.value for one in entry_points(group="pytest11", name="canonize")] == ["canonize_pytest"]
