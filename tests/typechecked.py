"""The type checker that tests put on every function of canonize."""

import beartype

# The numeric tower lets an int stand where a float is annotated, as static checkers do.
_CHECK = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))


def check(item):
    """Checked, unless it is a function inside a function: those are made anew at each call, and so would their checks be."""
    return item if "<locals>" in getattr(item, "__qualname__", "") else _CHECK(item)
