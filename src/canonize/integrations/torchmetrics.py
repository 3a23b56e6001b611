"""Metrics of torchmetrics: the equivariance error, and the accuracy over the orbit, batch by batch and over processes.

A symmetry is a property of the model, not of its answers to one batch. So `update` takes the model and its inputs, as
torchmetrics' own metrics of generative models do: `metric.update(model, inputs, target)`.
"""

from __future__ import annotations

from typing import Any, ClassVar, final

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from canonize._tree import to_tensors
from canonize.actions.trees import batch_of
from canonize.audit import accuracy
from canonize.audit.measure import SMALL, relative, typical
from canonize.audit.preflight import check_inputs, check_model
from canonize.audit.raw import Found
from canonize.audit.run import EXHAUSTIVE
from canonize.audit.settings import check_settings, check_task
from canonize.audit.stats import quantiles
from canonize.audit.sweep import Plan, sweep
from canonize.errors import refuse, within
from canonize.frames.base import over_batch
from canonize.groups import order
from canonize.symmetry import Symmetry, arguments, check_is_claim, group_for


class _Orbit(Metric):
    """What both metrics share: a claim, how many elements are tried, and where random ones come from."""

    is_differentiable: ClassVar[bool] = False  # type: ignore[misc]  # torchmetrics declares them on instances, and so do its own
    full_state_update: ClassVar[bool] = False  # type: ignore[misc]
    reductions: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        symmetry: Symmetry,
        reduction: str,
        elements: int,
        generator: torch.Generator | None,
        gradients: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        where = type(self).__name__
        check_is_claim(symmetry, where)
        with within("{}(...)", where):
            check_settings(
                elements=elements,
                batch_size=1,
                confidence=0.5,
                at_most=1,
                tolerance=None,
                scale=None,
                generator=generator,
            )
        if reduction not in self.reductions:
            raise refuse(
                f"{where}: no such reduction",
                got=repr(reduction),
                expected=", ".join(map(repr, self.reductions)),
                fix=f"{where}(symmetry, reduction={self.reductions[0]!r})",
            )
        self.symmetry = symmetry
        self.reduction = reduction
        self.elements = elements
        self.generator = torch.Generator().manual_seed(0) if generator is None else generator
        self.gradients = gradients

    def _sweep(self, model: Any, inputs: Any, target: Any, scale: float | None) -> Found:
        """What one batch shows, measured as `audit` measures it."""
        symmetry = self.symmetry
        with within("{}.update(...)", type(self).__name__):
            value, arrays = to_tensors(arguments(symmetry, inputs))
            count, dtype, device = batch_of(symmetry.inputs, value)
            check_model(model, value)
            check_inputs(symmetry.inputs, value, count)
            metric = None if target is None else accuracy
            targets = check_task(target, metric, None, count)
            group = group_for(symmetry, value)
            size = order(group)
            if size is not None and size <= max(EXHAUSTIVE, self.elements):
                exhaustive, m = True, size
                table = over_batch(group.elements(dtype=dtype, device=device), count)
            else:
                exhaustive, m = False, self.elements
                table = group.sample((m, count), generator=self.generator, dtype=dtype, device=device)
            plan = Plan(
                model, symmetry, value, arrays, table, (m, count), count, targets, metric, None, exhaustive, scale
            )
            # torchmetrics turns gradients on in forward() and off in update().
            with torch.set_grad_enabled(self.gradients):
                return sweep(plan, None)


@final
class EquivarianceError(_Orbit):
    """The relative equivariance error of a model over all updates, as `audit` measures it; dimensionless, from 0.

    Every element of a finite group of up to 64 is tried on every input; otherwise `elements` random ones for each input. For
    finite groups the result is that of one `audit` of all inputs, whatever the batches, their order and the number of
    processes. NaN in an answer is an infinite error.

    Args:
        symmetry: the claim.
        reduction: "max", "mean", "median", "q90" or "q99" over all (input, element) pairs; "none" returns them all.
        elements: random elements for each input of a large or infinite group.
        scale: the size below which an answer counts as zero, in the unit of the outputs; as for `audit` where None.
        generator: source of the random elements, on the CPU; seeded with 0 where None. It goes on from update to update, and
            `reset` does not turn it back. Processes of one run should be given different seeds.
        gradients: keep autograd on, for models that differentiate inside (forces).
        kwargs: what every metric of torchmetrics takes, such as `sync_on_compute` or `compute_on_cpu`.

    Two numbers for each pair and output are kept, in float64, on the metric's device. In a `MetricCollection`, metrics with
    equal claims and other reductions share them, and the model is called for one of them only.

    Raises:
        SymmetryError: no claim, bad settings; in `update`, what `audit` refuses (a model in train mode, inputs that do not
            fit); in `compute`, no updates.

    Example:
        >>> import torch
        >>> from canonize import C, Image, Scalar, Symmetry, symmetrize
        >>> from canonize.integrations.torchmetrics import EquivarianceError
        >>> claim = Symmetry(C(4), inputs=Image(), outputs=Scalar())
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)).eval()
        >>> metric = EquivarianceError(claim)
        >>> for batch in torch.rand(3, 8, 1, 4, 4):
        ...     metric.update(symmetrize(model, claim), batch)
        >>> bool(metric.compute() < 1e-5)
        True
    """

    higher_is_better: ClassVar[bool] = False  # type: ignore[misc]
    plot_lower_bound: ClassVar[float] = 0.0  # type: ignore[misc]
    reductions = ("max", "mean", "median", "q90", "q99", "none")

    off: list[Tensor]
    size: list[Tensor]
    inner: list[Tensor]
    whole: list[Tensor]

    def __init__(
        self,
        symmetry: Symmetry,
        *,
        reduction: str = "max",
        elements: int = 32,
        scale: float | None = None,
        generator: torch.Generator | None = None,
        gradients: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(symmetry, reduction, elements, generator, gradients, **kwargs)
        with within("EquivarianceError(...)"):
            check_settings(
                elements=2, batch_size=1, confidence=0.5, at_most=1, tolerance=None, scale=scale, generator=None
            )
        self.scale = scale
        for state in ("off", "size", "inner", "whole"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(self, model: Any, inputs: Any, target: Any = None) -> None:
        """Take in one batch.

        Args:
            model: any callable, in eval mode; not kept.
            inputs: what the model takes, batch first, as for `audit`; not changed.
            target: not used; here so that a `MetricCollection` can pass it to all of its metrics.
        """
        found = self._sweep(model, inputs, None, self.scale)
        tables = found.apart
        pairs = next(iter(tables.values())).off.numel()
        plain = [found.inner.get(path, torch.zeros(1, dtype=torch.float64)) for path in tables]
        longest = max(map(len, plain))
        self.off.append(torch.stack([one.off.reshape(pairs) for one in tables.values()], 1).to(self.device))
        self.size.append(torch.stack([one.size.reshape(pairs) for one in tables.values()], 1).to(self.device))
        # Zeros do not count for a typical size, so that they may fill up.
        self.inner.append(
            torch.stack([torch.nn.functional.pad(one, (0, longest - len(one))) for one in plain], 1).to(self.device)
        )
        self.whole.append(torch.tensor([[one.whole for one in tables.values()]], device=self.device))

    def compute(self) -> Tensor:
        """The error over all updates, a float64 scalar; (pairs,) with reduction="none".

        Raises:
            SymmetryError: no update yet.
        """
        if not len(self.off):
            raise refuse(
                "EquivarianceError has seen no inputs",
                got="compute() before any update",
                expected="at least one update",
                fix="metric.update(model, inputs) for each batch of the validation data",
            )
        off, size, inner, whole = (dim_zero_cat(state) for state in (self.off, self.size, self.inner, self.whole))
        errors = []
        for place in range(off.shape[1]):
            stated = self.scale is not None and not bool(whole[:, place].any())
            usual = SMALL * max(typical(size[:, place]), typical(inner[:, place]))
            least = self.scale if stated and self.scale is not None else usual
            errors.append(relative(off[:, place], size[:, place], least))
        worst = torch.stack(errors).amax(0)
        if self.reduction == "none":
            return worst
        return torch.tensor(getattr(quantiles(worst), self.reduction), dtype=torch.float64, device=off.device)


@final
class OrbitAccuracy(_Orbit):
    """The accuracy of a classifier over the orbits of its inputs: on every copy that the group makes of them; from 0 to 1.

    Args:
        symmetry: the claim; outputs are one `Scalar()` of logits or probabilities (batch, classes).
        reduction: "mean" over inputs and elements; "upright", for the inputs as they came; "worst_element", at the element
            where most answers are wrong (finite groups of up to 64, or up to `elements`, elements); "worst_case", the share of
            inputs that are classified rightly at every element.
        elements: random elements for each input of a large or infinite group.
        generator: as for `EquivarianceError`.
        gradients: keep autograd on.
        kwargs: what every metric of torchmetrics takes.

    The states are sums, so that memory does not grow, and a few batches on each of several processes give the same number as
    all of them on one. A NaN among the logits is a wrong answer. NaN before the first update.

    Raises:
        SymmetryError: as for `EquivarianceError`; "worst_element" of a group whose elements are drawn; targets that are no
            class numbers.

    Example:
        >>> import torch
        >>> from canonize import C, Image, Scalar, Symmetry
        >>> from canonize.integrations.torchmetrics import OrbitAccuracy
        >>> claim = Symmetry(C(4), inputs=Image(), outputs=Scalar())
        >>> brighter_above = lambda x: torch.stack([x[:, 0, 0].mean(1), x[:, 0, 1].mean(1)], 1)
        >>> images = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]], [[[0.0, 0.0], [1.0, 1.0]]]])
        >>> metric = OrbitAccuracy(claim, reduction="worst_element")
        >>> metric.update(brighter_above, images, torch.tensor([0, 1]))
        >>> metric.compute()
        tensor(0., dtype=torch.float64)
    """

    higher_is_better: ClassVar[bool] = True  # type: ignore[misc]
    plot_lower_bound: ClassVar[float] = 0.0  # type: ignore[misc]
    plot_upper_bound: ClassVar[float] = 1.0  # type: ignore[misc]
    reductions = ("mean", "upright", "worst_element", "worst_case")

    right: Tensor
    upright: Tensor
    always: Tensor
    samples: Tensor

    def __init__(
        self,
        symmetry: Symmetry,
        *,
        reduction: str = "mean",
        elements: int = 32,
        generator: torch.Generator | None = None,
        gradients: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(symmetry, reduction, elements, generator, gradients, **kwargs)
        size = order(symmetry.group)
        listed = size is not None and size <= max(EXHAUSTIVE, elements)
        if reduction == "worst_element" and not listed:
            raise refuse(
                "OrbitAccuracy: there is no worst element where elements are drawn for each input",
                got=f"{symmetry.group!r}, {'infinite' if size is None else f'{size} elements'}",
                expected=f"a group of at most {max(EXHAUSTIVE, elements)} elements",
                fix='reduction="worst_case" or "mean"; audit(...) shows the accuracy by angle',
            )
        zero = torch.zeros((), dtype=torch.float64)
        # One place for each element of a listed group; drawn ones share one.
        self.add_state("right", default=zero.new_zeros(size if listed and size else 1), dist_reduce_fx="sum")
        for state in ("upright", "always", "samples"):
            self.add_state(state, default=zero.clone(), dist_reduce_fx="sum")

    def update(self, model: Any, inputs: Any, target: Any) -> None:
        """Take in one batch.

        Args:
            model: any callable, in eval mode; not kept.
            inputs: what the model takes, batch first, as for `audit`; not changed.
            target: (batch,), class numbers.
        """
        found = self._sweep(model, inputs, target, None)
        if found.metric is None or found.upright is None:
            raise refuse(
                "OrbitAccuracy needs targets",
                got="None",
                expected="class numbers (batch,)",
                fix="metric.update(model, inputs, target)",
            )
        rows = found.metric if len(found.metric) == len(self.right) else found.metric.mean(0, keepdim=True)
        self.right = self.right + rows.sum(1).to(self.right)
        self.upright = self.upright + found.upright.sum().to(self.upright)
        self.always = self.always + found.metric.amin(0).sum().to(self.always)
        self.samples = self.samples + found.metric.shape[1]

    def compute(self) -> Tensor:
        """The accuracy over all updates, a float64 scalar."""
        sums = {
            "mean": self.right.mean(),
            "upright": self.upright,
            "worst_element": self.right.amin(),
            "worst_case": self.always,
        }
        return sums[self.reduction] / self.samples
