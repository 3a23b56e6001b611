"""The pytest plugin: fixtures that check a model's symmetry, JUnit properties of what they found, and a table at the end.

pytest loads this file as it starts, also for projects that only have canonize installed. So it stands beside the package
and imports neither canonize nor torch before a test asks for one of its fixtures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import torch

    from canonize import Audit, Symmetry
    from canonize.testing import Checked

_RESULTS = pytest.StashKey[list[tuple[str, dict[str, Any]]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option `--canonize-seed`."""
    parser.getgroup("canonize", "symmetry of models").addoption(
        "--canonize-seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the group elements that assert_equivariant and audit_model draw (default: 0)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make room for the results and listen to the reports, which also come from other processes (pytest-xdist)."""
    results: list[tuple[str, dict[str, Any]]] = []
    config.stash[_RESULTS] = results
    config.pluginmanager.register(_Collector(results), "canonize-results")


def pytest_report_header(config: pytest.Config) -> str | None:
    """The seed, where it is not the usual one."""
    seed = config.getoption("canonize_seed")
    return f"canonize: seed {seed}" if seed else None


@pytest.fixture
def canonize_generator(request: pytest.FixtureRequest) -> torch.Generator:
    """A generator on the CPU with the seed of `--canonize-seed`, a fresh one for each test."""
    import torch

    return torch.Generator().manual_seed(request.config.getoption("canonize_seed"))


@pytest.fixture
def assert_equivariant(canonize_generator: torch.Generator, request: pytest.FixtureRequest) -> Callable[..., Checked]:
    """`canonize.testing.assert_equivariant`, which also records claim, verdict and error as properties of the test.

    `assert_equivariant(model, symmetry, inputs, tolerance=..., count=..., generator=...)` fails the test where the claim is
    broken. Elements are drawn with `--canonize-seed` unless a generator is passed.
    """
    from canonize.errors import LawError
    from canonize.testing import assert_equivariant as check

    def checked(model: Any, symmetry: Symmetry, inputs: Any, **settings: Any) -> Checked:
        __tracebackhide__ = True
        try:
            found = check(model, symmetry, inputs, **{"generator": canonize_generator, **settings})
        except LawError as error:
            _record(request.node, claim=repr(symmetry), verdict="fail", error=error.violation)
            raise
        _record(request.node, claim=repr(symmetry), verdict="pass", error=found.violation)
        return found

    return checked


@pytest.fixture
def audit_model(canonize_generator: torch.Generator, request: pytest.FixtureRequest) -> Callable[..., Audit]:
    """`canonize.audit` without its cost, which also records what it found as properties of the test.

    `audit_model(model, symmetry, inputs, targets=..., metric=..., ...)` returns the `Audit` whatever its verdict: the test
    says what it asks of it, for example `assert audit_model(...).passed`.
    """
    from canonize import audit

    def audited(model: Any, symmetry: Symmetry, inputs: Any, **settings: Any) -> Audit:
        __tracebackhide__ = True
        found = audit(model, symmetry, inputs, **{"generator": canonize_generator, "cost": False, **settings})
        _record(
            request.node,
            claim=repr(symmetry),
            verdict=found.verdict,
            error=found.error.max,
            error_median=found.error.median,
            floor=None if found.floor is None else found.floor.median,
            metric=None if found.metric is None else found.metric.name,
            metric_upright=None if found.metric is None else found.metric.upright,
            metric_mean=None if found.metric is None else found.metric.mean,
            metric_worst=None if found.metric is None else found.metric.worst_element,
        )
        return found

    return audited


def _record(node: Any, **facts: object) -> None:
    """Add facts to the test's properties: canonize.verdict, ...; those of its second check are canonize[2].verdict."""
    before = sum(name.startswith("canonize") and name.endswith(".verdict") for name, _ in node.user_properties)
    prefix = f"canonize[{before + 1}]" if before else "canonize"
    node.user_properties.extend((f"{prefix}.{name}", fact) for name, fact in facts.items() if fact is not None)


class _Collector:
    """Reads the properties back from the reports of finished tests."""

    def __init__(self, results: list[tuple[str, dict[str, Any]]]) -> None:
        self.results = results

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what the fixtures recorded, once for each test."""
        if report.when != "teardown":
            return
        checks: dict[str, dict[str, Any]] = {}
        for name, fact in report.user_properties:
            prefix, dot, rest = name.partition(".")
            if dot and (prefix == "canonize" or prefix.startswith("canonize[")):
                checks.setdefault(prefix, {})[rest] = fact
        self.results.extend(
            (report.nodeid + prefix.removeprefix("canonize"), facts) for prefix, facts in checks.items()
        )


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """A line for each check: verdict, error, floor and the name of the test."""
    results = config.stash[_RESULTS]
    if not results:
        return
    terminalreporter.section("symmetry of models (canonize)")
    terminalreporter.write_line(f"{'verdict':9}  {'error':>8}  {'floor':>8}  test")
    colors = {"pass": "green", "fail": "red"}
    for test, facts in results:
        verdict = str(facts.get("verdict", "?"))
        numbers = "".join(f"  {_number(facts.get(name)):>8}" for name in ("error", "floor"))
        terminalreporter.write_line(f"{verdict:9}{numbers}  {test}", **{colors.get(verdict, "yellow"): True})


def _number(fact: Any) -> str:
    return "" if fact is None else f"{float(fact):.2g}"
