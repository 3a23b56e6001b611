"""Conformance checks for groups, actions, frames and models: each names the law that is broken, where, and by how much.

    check_group(MyGroup())
    check_action(my_action, MyGroup(), x)
    check_frame(my_frame, Symmetry(...), inputs)
    check_continuity(my_frame, Symmetry(...), inputs)
    assert_equivariant(model, Symmetry(...), inputs)

Each raises `LawError`, or returns a `Checked` that lists what held and what was skipped, with the reason. Violations are
taken in float64. Not-a-number never passes.
"""

from canonize.testing.actions import check_action
from canonize.testing.compare import Checked
from canonize.testing.continuity import check_continuity
from canonize.testing.frames import check_frame
from canonize.testing.groups import check_group
from canonize.testing.models import assert_equivariant

__all__ = ["Checked", "assert_equivariant", "check_action", "check_continuity", "check_frame", "check_group"]
