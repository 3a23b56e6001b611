"""`adapt`: a short training loop for frames with parameters."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from canonize.adapt import identity
from canonize.adapt.bar import bar
from canonize.adapt.batches import Unpack, source
from canonize.adapt.log import FitLog
from canonize.adapt.losses import prior_loss
from canonize.adapt.processes import Alone, Processes, check_processes
from canonize.adapt.run import Loss, Run
from canonize.adapt.settings import Settings, check_functions, check_symmetrized
from canonize.adapt.validate import figure_of
from canonize.errors import refuse, within
from canonize.symmetrize import Symmetrized


def adapt(
    symmetrized: Symmetrized,
    data: Any,
    *,
    targets: Any = None,
    loss: Loss = prior_loss,
    model: bool = False,
    epochs: int = 10,
    batch_size: int = 64,
    rate: float = 1e-3,
    decay: float = 1e-2,
    clip: float = 1.0,
    average: float = 0.0,
    precision: torch.dtype | None = None,
    augment: Callable[[Any, torch.Generator], Any] | None = None,
    validation: Any = None,
    metric: Callable[[Any, Tensor], Tensor] | None = None,
    figure: Callable[[Symmetrized], float] | None = None,
    patience: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    unpack: Unpack | None = None,
    generator: torch.Generator | None = None,
    progress: Callable[[int, int], None] | bool | None = None,
    processes: Processes | None = None,
) -> FitLog:
    """Train the frame of a symmetrized model, so that it shows the model what the model was trained to see.

    AdamW with one cycle of the learning rate. The model itself stays as it is, frozen and in eval mode, unless `model`.
    Parts of the frame without trainable parameters stay in eval mode too.

    Args:
        symmetrized: made by `symmetrize`, with a frame that has parameters; trained in place and left in eval mode.
        data: all inputs in the form that the claim declares, or a loader (a `DataLoader`, a list of batches) of inputs or
            of pairs (inputs, targets). For `prior_loss`: inputs that stand upright. Batches are moved to the device of the
            frame.
        targets: (samples, ...) for inputs in memory, where the loss needs them.
        loss: `(symmetrized, inputs, targets, generator=...) -> scalar`: `prior_loss`, `task_loss`, `distillation_loss`, or
            one of your own.
        model: train the model as well.
        epochs: passes over the data.
        batch_size: inputs in a batch, for inputs in memory.
        rate: largest learning rate.
        decay: weight decay.
        clip: largest norm of the gradient; infinity for none.
        average: decay of an exponential moving average of the weights, which is then what is kept; 0 for none.
        precision: `torch.bfloat16` or `torch.float16` for mixed precision.
        augment: `(inputs, generator) -> inputs`, applied to each batch where the data lie; the generator is on the CPU.
        validation: upright inputs, or a pair (inputs, targets); audited after each epoch, and the weights of the best epoch
            are kept. The figure is the audit's mean of `metric` over inputs and elements. Without targets, the
            model's own answers to the upright inputs are the targets: its classes where it returns logits, otherwise all
            numbers of its outputs.
        metric: for the validation, `(outputs, targets) -> (batch,)`; where None `accuracy`, or without targets
            1 - |outputs - targets| / (|outputs| + |targets|) for outputs that are no logits.
        figure: `symmetrized -> number`, larger is better, instead of an audit of `validation`.
        patience: stop after so many epochs without a better figure.
        checkpoint: a file that is written before the first epoch and after each. Where it exists, the run goes on from it
            and ends with the same numbers as one that was never interrupted. It is refused where settings, the claim, options
            of the frame, names and options of functions, or samples of data in memory differ; `patience` may.
        unpack: `batch -> (inputs, targets)` for a loader of another form.
        generator: the run's seed is drawn from it; 0 where None. A loader that shuffles by itself does so from torch's
            global generator, which is lent to it with this seed and put back.
        progress: called with (done, total) batches; True for a bar on the error stream, by default where that is a terminal.
        processes: several that train one frame together, such as `canonize.integrations.accelerate.Accelerated()`; each makes
            the same call. Each takes its part of every batch, and the sum of the gradients is that of the whole batch, for
            losses that are a mean over samples. Process 0 validates, writes the checkpoint and tells the progress.

    Returns:
        The record of the run.

    Raises:
        SymmetryError: nothing to learn or to learn from, data that do not fit the claim, a loss or gradient that is not
            finite, a file that is no checkpoint of this run, settings out of range.

    Example:
        >>> import torch
        >>> from canonize import Best, C, Image, Scalar, Symmetry, adapt, nn, symmetrize
        >>> upright = torch.linspace(1, 0, 8)[:, None] + 0.1 * torch.rand(64, 1, 8, 8)
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> mended = symmetrize(model, Symmetry(C(4), Image(), Scalar()), Best(nn.Scorer(1)))
        >>> log = adapt(mended, upright, epochs=5, rate=1e-2)
        >>> turned = upright.rot90(1, (-2, -1))
        >>> torch.allclose(mended(turned), model(upright), atol=1e-6)
        True

    Source: prior-regularised canonicalization, Mondal et al., arXiv 2310.01647; AdamW, arXiv 1711.05101; one cycle, arXiv
    1708.07120.
    """
    with within("adapt(...)"):
        settings = Settings(model, epochs, batch_size, rate, decay, clip, average, precision, patience)
        check_symmetrized(symmetrized)
        settings.check()
        check_functions(generator, loss, augment=augment, metric=metric, figure=figure, unpack=unpack)
        batches = source(symmetrized.symmetry, data, targets, batch_size, unpack)
        for name, given, needs, there in (
            ("patience", patience, "validation= or figure=", validation is not None or figure is not None),
            ("metric", metric, "validation=, and no figure=", validation is not None and figure is None),
            ("figure", figure, "no validation= beside it", validation is None),
        ):
            if given is not None and not there:
                raise refuse(
                    f"adapt: {name} has nothing to work on",
                    got=f"{name}=, validation {'missing' if validation is None else 'given'}, "
                    f"figure {'missing' if figure is None else 'given'}",
                    expected=needs,
                    fix="validation=held_out_images",
                )
        seed = 0 if generator is None else int(torch.randint(2**40, (), generator=generator, device=generator.device))
        judging = {
            "figure": identity.told(metric if figure is None else figure),
            "validation": identity.validation(symmetrized.symmetry, validation),
        }
        others = Alone() if processes is None else processes
        check_processes(others)
        run = Run(symmetrized, batches, loss, settings, augment, seed, judging, others)
        judge = figure_of(symmetrized, validation, metric, run.device, trained=model) if figure is None else figure
        if checkpoint is not None:
            run.resume(checkpoint)
        with bar(progress if others.rank == 0 else False, len(batches) * epochs) as tell:
            while run.goes_on:
                run.epoch(judge, tell)
                if checkpoint is not None:
                    run.save(checkpoint)
        return run.finish()
