"""Whether the values of tensors may be looked at: not while a program is made of the calls."""

from __future__ import annotations

import torch

from canonize.errors import refuse


def unseen() -> bool:
    """True inside of `torch.compile`, `torch.export` and `torch.func.vmap`, where no branch may depend on a value.

    There one way has to be right for all values; elsewhere a look may save work, or refuse what is wrong.
    """
    return torch.compiler.is_compiling() or mapped()


def mapped() -> bool:
    """True inside of `torch.func.vmap`."""
    if torch._C._functorch.maybe_current_level() is None:
        return False
    # Under `grad` and its kin values may be looked at.
    levels = torch._C._functorch.get_interpreter_stack() or []
    return any(level.key() == torch._C._functorch.TransformType.Vmap for level in levels)


def check_not_mapped(where: str) -> None:
    """Refuse `torch.func.vmap` for what has another number of poses for each sample.

    Raises:
        SymmetryError: inside of it.
    """
    if not torch.compiler.is_compiling() and mapped():
        raise refuse(
            f"{where} gives each sample as many poses as it needs, and vmap cannot",
            got="a call inside of torch.func.vmap",
            expected="a call with the batch in front, which every frame takes",
            fix="flatten the mapped axis into the batch; or PCA(fallback=None), whose margin tells where axes are lost",
        )
