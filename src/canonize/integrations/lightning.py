"""Lightning: a callback that audits the model while it trains."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from canonize._tree import Node, map_tensors, to_tensors, walk
from canonize.actions import Each, Numbering, Rows, Scalar
from canonize.actions.trees import batch_of, separable, take
from canonize.adapt.batches import Loaded, Unpack, on_device
from canonize.adapt.modes import in_eval
from canonize.audit import Audit, accuracy, audit
from canonize.errors import LawError, SymmetryError, refuse, within
from canonize.report import write
from canonize.symmetry import Symmetry, arguments, check_is_claim

VERDICTS = {"pass": 1.0, "undecided": 0.0, "fail": -1.0}
"""Loggers take numbers only."""


@final
class AuditCallback(Callback):
    """Audits the model after validation, and logs error, floor, verdict and the accuracy over the orbit.

    Logged with `pl_module.log_dict` under `prefix`, so that loggers, `EarlyStopping` and `ModelCheckpoint` find them:

    - `audit/error_max`, `audit/error_median`: the relative equivariance error;
    - `audit/floor_median`: what resampling alone costs, where anything is resampled;
    - `audit/antisymmetric_share`: of the outputs' energy, where there is one;
    - `audit/verdict`: 1 for pass, 0 for undecided, -1 for fail;
    - `audit/accuracy_upright`, `_mean`, `_worst`: at the identity, over the orbit and at its worst element, where labels are
      there; under the metric's own name where it is another one;
    - `audit/agreement`: share of decisions that are as upright, where there are any.

    Training is not touched: weights after it are bit for bit those without the callback. Modes are put back, and so are the
    random states of torch, NumPy and Python. With several processes the first audits its part of the data while the others
    wait, and all of them log its numbers.

    Args:
        symmetry: the claim.
        inputs: what to audit on, as for `audit`; where None, the first samples of the first validation loader, before which
            there is no audit. Without a validation loop, inputs are audited at the end of the training epoch.
        targets: (samples, ...), for inputs that are given.
        metric: as for `audit`; `accuracy` counts only where targets are class numbers (samples,). None leaves targets out.
        every_n_epochs: audits in each n-th epoch of training that is validated; `trainer.validate` always audits.
        samples: how many inputs of the validation loader are audited. Batches are joined where inputs are dense tensors of one
            size; of graphs and other ragged batches the first one is audited.
        unpack: from a validation batch to (inputs, targets); where None, the pair itself or inputs alone.
        model: from the module to what is audited, such as `operator.attrgetter("net")`; the module itself where None.
        prefix: of the logged names.
        fail: raise `LawError` where the verdict is "fail", which ends the training.
        report: a folder for `report.html`, `report.json` and `report.txt` of the first and the last audit, and for
            `history.json`, written after training, also when it ends with an error.
        seed: of the elements that are drawn, the same in each audit, so that epochs can be compared.
        settings: further arguments of `audit`: `elements`, `tolerance`, `scale`, `batch_size`, `decision`, ... `cost` is False
            unless it is given.

    Attributes:
        history: a dict for each audit: epoch, step, verdict as a word, reason, and all numbers that were logged. Kept in
            checkpoints, and so goes on after a resume.
        last: the last `Audit` of this run; None before, and in all processes but the first.

    Raises:
        SymmetryError: bad arguments; in training, what `audit` refuses, batches that cannot be told apart into inputs and
            targets, or a strategy that shards the model.
        LawError: with `fail`, a model that breaks the claim.

    Example:
        >>> import lightning, torch
        >>> from canonize import C, Image, Scalar, Symmetry
        >>> from canonize.integrations.lightning import AuditCallback
        >>> watch = AuditCallback(Symmetry(C(4), Image(), Scalar()), every_n_epochs=5, report="audits/")
        >>> trainer = lightning.Trainer(
        ...     callbacks=[watch], logger=False, enable_checkpointing=False, enable_model_summary=False, accelerator="cpu"
        ... )
    """

    def __init__(
        self,
        symmetry: Symmetry,
        inputs: Any = None,
        targets: Any = None,
        *,
        metric: Callable[[Any, Tensor], Tensor] | None = accuracy,
        every_n_epochs: int = 1,
        samples: int = 128,
        unpack: Unpack | None = None,
        model: Callable[[LightningModule], Any] | None = None,
        prefix: str = "audit",
        fail: bool = False,
        report: str | os.PathLike[str] | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        check_is_claim(symmetry, "AuditCallback")
        for name, value in (("every_n_epochs", every_n_epochs), ("samples", samples)):
            if not isinstance(value, int) or value < 1:
                raise refuse(
                    f"AuditCallback: bad {name}",
                    got=repr(value),
                    expected="a whole number, at least 1",
                    fix=f"leave {name} at its default",
                )
        if targets is not None and inputs is None:
            raise refuse(
                "AuditCallback: targets belong to inputs",
                got="targets= without inputs=",
                expected="both, or neither",
                fix="leave targets out: those of the validation batches are used",
            )
        if report is not None:
            _check_report()
        self.symmetry, self.inputs, self.targets, self.metric = symmetry, inputs, targets, metric
        self.every_n_epochs, self.samples, self.unpack, self.model = every_n_epochs, samples, unpack, model
        self.prefix, self.fail, self.report, self.seed, self.settings = prefix, fail, report, seed, settings
        self.history: list[dict[str, Any]] = []
        self.last: Audit | None = None
        self._first: Audit | None = None
        self._kept: list[tuple[Any, Any]] = []

    @property
    def state_key(self) -> str:
        """Under which a checkpoint keeps the history: one for each prefix."""
        return self._generate_state_key(prefix=self.prefix)

    def state_dict(self) -> dict[str, Any]:
        """The history, as plain values."""
        return {"history": [dict(row) for row in self.history]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the history of a checkpoint."""
        self.history = [dict(row) for row in state_dict["history"]]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse strategies under which one process alone cannot call the model."""
        if not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
            raise refuse(
                "AuditCallback calls the model in the first process alone",
                got=f"the strategy {type(trainer.strategy).__name__}, which may keep parts of the model in each process",
                expected="one device, or DDP",
                fix="audit the checkpoint after training: canonize audit, or audit(model, symmetry, inputs)",
            )

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the batches of the last validation."""
        self._kept = []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the first samples of the first loader."""
        enough = self._kept and (sum(map(self._count, self._kept)) >= self.samples or not _joins(self.symmetry.inputs))
        first = trainer.is_global_zero and dataloader_idx == 0
        if self.inputs is not None or not first or enough or not self._due(trainer):
            return
        with within("AuditCallback(...), validation batch {}", batch_idx):
            one = list(Loaded(self.symmetry, [batch], self.unpack).epoch(torch.Generator()))
            # Not inference tensors, which no one could differentiate; and the loop may reuse its own.
            with torch.inference_mode(False):
                for inputs, _ in one:
                    self._check(inputs)
                self._kept += [(map_tensors(torch.clone, x), map_tensors(torch.clone, y)) for x, y in one]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse to stand by where there will be nothing to audit: a guard that never looks would pass for one that did."""
        if self.inputs is None and not trainer.enable_validation:
            raise refuse(
                "AuditCallback has nothing to audit",
                got="no inputs=, and a trainer without validation",
                expected="one of them",
                fix="AuditCallback(symmetry, inputs), or a validation loader, a validation_step and limit_val_batches > 0",
            )

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Audit, log, and raise where `fail` asks for it."""
        if self._due(trainer):
            self._audit(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same for given inputs where there is no validation."""
        if self.inputs is not None and not trainer.enable_validation and self._due(trainer):
            self._audit(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the report."""
        self._write(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the report of `trainer.validate`."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._write(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write the report of what was found so far."""
        self._write(trainer)

    def _due(self, trainer: Trainer) -> bool:
        if trainer.state.fn == TrainerFn.VALIDATING:
            return True
        return not trainer.sanity_checking and (trainer.current_epoch + 1) % self.every_n_epochs == 0

    def _check(self, inputs: Any) -> None:
        try:
            batch_of(self.symmetry.inputs, inputs)
        except SymmetryError as error:
            raise refuse(
                "the validation batches do not fit the claim",
                got=str(error).splitlines()[0],
                expected=f"inputs for {self.symmetry!r}, or a pair of these and targets",
                fix='say where they are: AuditCallback(..., unpack=lambda batch: (batch["image"], batch["label"]))',
            ) from error

    def _count(self, pair: tuple[Any, Any]) -> int:
        return batch_of(self.symmetry.inputs, pair[0])[0]

    def _audit(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Audit in the first process, tell the others, and log everywhere."""
        row: dict[str, Any] | None = None
        trouble: Exception | None = None
        if trainer.is_global_zero:
            try:
                row = self._measured(trainer, pl_module)
            except Exception as error:  # the others wait to be told, and would do so for ever
                trouble = error
        if trainer.world_size > 1:
            row, trouble = trainer.strategy.broadcast((row, trouble), src=0)
        self._kept = []
        if trouble is not None:
            raise trouble
        if row is None:
            return
        self.history.append(row)
        numbers = {name: value for name, value in row.items() if name.startswith(f"{self.prefix}/")}
        pl_module.log_dict(numbers, on_step=False, on_epoch=True, sync_dist=trainer.world_size > 1)
        if self.fail and row["verdict"] == "fail":
            raise LawError(
                f"the model breaks the claim {self.symmetry!r} after epoch {row['epoch']}\n"
                f"  got:      {row['reason']}\n"
                f"  expected: at most a relative error of {row['tolerance']:.2g}\n"
                "  try:      symmetrize(model, symmetry), or fail=False to train on and watch"
            )

    def _measured(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any] | None:
        inputs, targets = self._inputs(pl_module.device)
        if inputs is None:
            return None
        settings = {"cost": False, "gradients": False, **self.settings}
        model = pl_module if self.model is None else self.model(pl_module)
        metric = self.metric if targets is not None and self._fits(targets) else None
        cuda = pl_module.device.type == "cuda"
        with (
            isolate_rng(include_cuda=cuda),
            in_eval(pl_module),
            torch.inference_mode(False),
            torch.set_grad_enabled(settings["gradients"]),
        ):
            found = audit(
                model,
                self.symmetry,
                inputs,
                targets=None if metric is None else targets,
                metric=metric,
                generator=torch.Generator().manual_seed(self.seed),
                **{"name": f"{type(pl_module).__name__}, epoch {trainer.current_epoch}", **settings},
            )
        self.last = found
        self._first = found if self._first is None else self._first
        return {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "verdict": found.verdict,
            "reason": found.reason,
            "tolerance": found.tolerance,
            **{f"{self.prefix}/{name}": value for name, value in _numbers(found).items()},
        }

    def _inputs(self, device: torch.device) -> tuple[Any, Any]:
        """What is audited: (None, None) where no validation batch was seen."""
        if self.inputs is not None:
            value = arguments(self.symmetry, self.inputs)
            return on_device(value, device), self.targets
        if not self._kept:
            return None, None
        with torch.inference_mode(False):
            return _joined(self.symmetry.inputs, self._kept, self.samples)

    def _fits(self, targets: Any) -> bool:
        """Whether the targets are such as the metric takes: `accuracy` takes class numbers for logits."""
        if self.metric is not accuracy:
            return True
        value = to_tensors(targets)[0]
        whole = not (isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex()))
        flat = isinstance(value, list) or (isinstance(value, Tensor) and value.ndim == 1)
        return self.symmetry.outputs == Scalar() and whole and flat

    def _write(self, trainer: Trainer) -> None:
        if self.report is None or self.last is None or not trainer.is_global_zero:
            return
        both = [self.last] if self._first in (None, self.last) else [self._first, self.last]
        write([one for one in both if one is not None], self.report)
        text = json.dumps([{name: _plain(value) for name, value in row.items()} for row in self.history], indent=2)
        Path(self.report, "history.json").write_text(text + "\n", encoding="utf-8")


def _numbers(found: Audit) -> dict[str, float]:
    """What is logged of an audit."""
    numbers = {
        "error_max": found.error.max,
        "error_median": found.error.median,
        "floor_median": None if found.floor is None else found.floor.median,
        "antisymmetric_share": None if found.split is None else found.split.share,
        "verdict": VERDICTS[found.verdict],
        "agreement": found.agreement,
    }
    if found.metric is not None:
        name, metric = found.metric.name, found.metric
        numbers |= {
            f"{name}_upright": metric.upright,
            f"{name}_mean": metric.mean,
            f"{name}_worst": metric.worst_element,
        }
    return {name: float(number) for name, number in numbers.items() if number is not None}


def _joins(spec: Any) -> bool:
    """Whether batches can be joined: every declared input is a dense tensor with the batch first."""
    if isinstance(spec, dict):
        return all(map(_joins, spec.values()))
    if isinstance(spec, tuple | list):
        return all(map(_joins, spec))
    return not (spec is None or isinstance(spec, Node | Rows | Numbering | Each))


def _joined(spec: Any, kept: list[tuple[Any, Any]], samples: int) -> tuple[Any, Any]:
    """The first samples of some batches as one batch; all of the first batch where they cannot be joined."""
    shapes: set[Any] = set()
    for value, targets in kept:
        entries: list[Any] = [tuple(targets.shape[1:]) if isinstance(targets, Tensor) else type(targets)]
        if _joins(spec):
            walk(lambda _, part, *, path, into=entries: into.append(part.shape[1:]), spec, value)
        shapes.add(tuple(entries))
    inputs, targets = kept[0]
    if _joins(spec) and len(shapes) == 1 and (targets is None or isinstance(targets, Tensor)):
        inputs = walk(lambda _, *parts, path: torch.cat(parts), spec, *(value for value, _ in kept))
        targets = None if targets is None else torch.cat([one for _, one in kept])
    count = batch_of(spec, inputs)[0]
    if count > samples and separable(spec, inputs) and (targets is None or isinstance(targets, Tensor)):
        inputs = take(spec, inputs, torch.arange(samples))
        targets = None if targets is None else targets[:samples]
    return inputs, targets


def _check_report() -> None:
    """Refuse a report that could not be written after hours of training."""
    try:
        import canonize.report.page
        import canonize.report.tables  # noqa: F401  # the imports are the test
    except ImportError as error:
        raise refuse(
            "AuditCallback cannot write a report",
            got=str(error),
            expected="matplotlib, jinja2 and rich",
            fix="pip install 'canonize[report]', or leave report= out",
        ) from error


def _plain(value: Any) -> Any:
    """Numbers that JSON has none of as words."""
    return value if not isinstance(value, float) or abs(value) < float("inf") else str(value)
