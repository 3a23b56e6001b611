"""What an audit found: plain numbers, and the few tensors that pictures are made of."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, final

from torch import Tensor

Verdict = Literal["pass", "fail", "undecided"]


@final
@dataclass(frozen=True)
class Quantiles:
    """Relative errors over all (input, element) pairs, dimensionless; NaN counts as infinite, equal infinities as 0.

    Attributes:
        median, q90, q99, max: quantiles.
        mean: the mean.
    """

    median: float
    q90: float
    q99: float
    max: float
    mean: float


@final
@dataclass(frozen=True)
class ElementRow:
    """What happened at one element of a finite group, or in one range of angles of a continuous one.

    Attributes:
        label: in words, such as "90°" or "90°, mirrored".
        angle: counter-clockwise, in degrees from 0 up to 360; None where the group does not turn the plane.
        mirrored: whether the element reverses orientation.
        lossless: whether every input was moved without loss.
        pairs: number of (input, element) pairs behind the row.
        error: median relative error.
        worst: largest relative error.
        floor: median floor; None where nothing is resampled.
        metric: mean of the task's metric; None without targets.
        agreement: share of decisions that are as upright, in [0, 1]; None where there is no decision.
    """

    label: str
    angle: float | None
    mirrored: bool
    lossless: bool
    pairs: int
    error: float
    worst: float
    floor: float | None = None
    metric: float | None = None
    agreement: float | None = None


@final
@dataclass(frozen=True)
class Split:
    """The model's energy split into its symmetric and its antisymmetric part (arXiv 2102.10333).

    Attributes:
        share: antisymmetric over total energy, in [0, 1]: 0 is equivariant, 1 averages to nothing over the group.
        low, high: bootstrap interval of the share, 95 %.
        symmetric, antisymmetric: mean energies, in squared units of the output; of several outputs, each in units of its
            mean energy.
    """

    share: float
    low: float
    high: float
    symmetric: float
    antisymmetric: float


@final
@dataclass(frozen=True)
class Metric:
    """The task's metric over the orbit. NaN counts as the worst value.

    Attributes:
        name: of the metric.
        higher_is_better: its direction.
        upright: mean at the identity.
        mean: mean over inputs and elements.
        worst_element: mean over inputs at the worst row of the audit, NaN if any row is; its label is `worst_label`.
        worst_label: which row that was.
        worst_case: mean over inputs of the worst value that each takes anywhere on its orbit.
    """

    name: str
    higher_is_better: bool
    upright: float
    mean: float
    worst_element: float
    worst_label: str
    worst_case: float


@final
@dataclass(frozen=True)
class Certificate:
    """With `confidence`, at most the share `bound` of (input, element) pairs exceeds the tolerance (Clopper-Pearson).

    Attributes:
        confidence: such as 0.99.
        trials: independent pairs: one random element for each input.
        exceeding: how many of them exceeded the tolerance.
        bound: upper confidence bound on the share, in [0, 1].
    """

    confidence: float
    trials: int
    exceeding: int
    bound: float


@final
@dataclass(frozen=True)
class Cost:
    """What the symmetry costs on one batch of the audited inputs.

    Attributes:
        batch: samples in the timed batch.
        passes: samples that the plain model is shown for each sample of the input (1 for the plain model), also by an energy
            that calls it where it is an ordinary module; an energy of its own, which `Best` may have, shows in the seconds
            only.
        seconds: median seconds of one call.
        memory: peak bytes of tensors allocated in one call; None where it cannot be measured, as of what is no torch module.
        plain_seconds, plain_memory: the same for the plain model behind the frame; None where the model is plain.
    """

    batch: int
    passes: float
    seconds: float
    memory: int | None
    plain_seconds: float | None = None
    plain_memory: int | None = None


@final
@dataclass(frozen=True)
class Forgotten:
    """Other declarations with which the error falls clearly: fields that somebody forgot.

    Attributes:
        places: where, as paths from `inputs` or `outputs`, such as "inputs.cell" or "inputs[1]".
        declared: what each was declared as, such as "Scalar()" or "left out".
        actions: what each is to be declared as, such as "Vector()".
        error: largest relative error as declared, on the few samples on which this was tried.
        then: the same with these actions.
        advice: all of it in one sentence.
    """

    places: tuple[str, ...]
    declared: tuple[str, ...]
    actions: tuple[str, ...]
    error: float
    then: float
    advice: str


@final
@dataclass(frozen=True)
class WorstCase:
    """One of the pairs with the largest error.

    Attributes:
        sample: number of the input, from 0.
        label: the element, in words.
        error: relative error.
        answer: the model's answer for the input, in words.
        turned_answer: for the moved input, turned back, in words.
        picture: (channels, height, width), the input; None where inputs are no images.
        turned_picture: the moved input; None likewise.
    """

    sample: int
    label: str
    error: float
    answer: str
    turned_answer: str
    picture: Tensor | None = None
    turned_picture: Tensor | None = None


@final
@dataclass(frozen=True)
class Gallery:
    """Inputs as they came, moved, and as the model is shown them.

    Attributes:
        inputs: (count, channels, height, width).
        turned: the same inputs, each moved by the element in `labels`.
        canonical: what the model is shown for `inputs`; None for a model without a frame.
        canonical_turned: what it is shown for `turned`; None likewise.
        labels: the elements, in words.
        margins: (count,) margin of each of `turned`; None where the frame has none.
    """

    inputs: Tensor
    turned: Tensor
    canonical: Tensor | None
    canonical_turned: Tensor | None
    labels: tuple[str, ...]
    margins: Tensor | None = None


@final
@dataclass(frozen=True)
class Audit:
    """The result of `audit`; `print` it, or hand it to `canonize.report`.

    Attributes:
        name: what the audited model is called.
        symmetry: the claim, in words.
        frame: the frame, in words; None for a plain model.
        verdict: "pass", "fail" or "undecided".
        reason: the verdict in one sentence.
        tolerance: the largest relative error that passes.
        samples: number of inputs.
        elements: elements tried for each input.
        exhaustive: whether these are all elements of the group.
        error: relative equivariance errors; an answer smaller than the audit's `scale` is measured against that.
        floor: what the round trip g^-1 g alone loses, in the same unit; None where nothing is resampled.
        by_output: largest error of each output, by its path.
        noise: largest relative difference between two calls on the same input; above 0 for a random model.
        rows: one for each element, or for each range of angles.
        split: symmetric and antisymmetric energy; None where no output is real-valued, and for an infinite group without an
            invariant law to draw from (`haar`), such as SE(3): there is no average to split from.
        certificate: what follows for inputs like these.
        metric: the task's metric over the orbit; None without targets.
        agreement: share of pairs whose decision is as upright, in [0, 1]; None where there is no decision.
        cost: None where it was not asked for.
        worst: the pairs with the largest errors, the largest first.
        gallery: pictures; None where inputs are no images.
        versions: of the software and the machine, by name.
        errors: (elements, samples) float64, every relative error; not part of the JSON.
        forgotten: where the audit failed, fields that were declared to stand still and turn; None where none was found.
    """

    name: str
    symmetry: str
    frame: str | None
    verdict: Verdict
    reason: str
    tolerance: float
    samples: int
    elements: int
    exhaustive: bool
    error: Quantiles
    floor: Quantiles | None
    by_output: dict[str, float]
    noise: float
    rows: tuple[ElementRow, ...]
    split: Split | None
    certificate: Certificate
    metric: Metric | None
    agreement: float | None
    cost: Cost | None
    worst: tuple[WorstCase, ...]
    gallery: Gallery | None
    versions: dict[str, str]
    errors: Tensor
    forgotten: Forgotten | None = None

    @property
    def passed(self) -> bool:
        """Whether the verdict is "pass"."""
        return self.verdict == "pass"

    def as_dict(self) -> dict[str, Any]:
        """All numbers and words as plain JSON values; pictures and raw errors left out, infinities and NaN as strings."""
        plain: dict[str, Any] = _plain({field.name: getattr(self, field.name) for field in dataclasses.fields(self)})
        return {name: part for name, part in plain.items() if name not in ("gallery", "errors")}

    def __str__(self) -> str:
        lines = [
            f"{self.name}: {self.verdict.upper()}. {self.reason}",
            *([] if self.forgotten is None else [f"  {self.forgotten.advice}"]),
            f"  claim: {self.symmetry}",
            f"  relative error: median {self.error.median:.2g}, 99 % {self.error.q99:.2g}, worst {self.error.max:.2g}",
            f"  tolerance {self.tolerance:.2g}; {self.samples} inputs x {self.elements} elements",
        ]
        if self.split is not None:
            lines.append(f"  antisymmetric share: {self.split.share:.2%} [{self.split.low:.2%}, {self.split.high:.2%}]")
        if self.metric is not None:
            lines.append(
                f"  {self.metric.name}: upright {self.metric.upright:.4g}, over the orbit {self.metric.mean:.4g}, "
                f"at worst {self.metric.worst_element:.4g} ({self.metric.worst_label})"
            )
        return "\n".join(lines)


_PICTURES = ("picture", "turned_picture")


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {name: _plain(part) for name, part in parts.items() if name not in _PICTURES}
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
