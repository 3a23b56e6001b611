"""Making a frame agree with how the model's training data stood: losses, a short training loop, and its record."""

from canonize.adapt.bootstrap import bootstrap
from canonize.adapt.log import Epoch, FitLog
from canonize.adapt.loop import adapt
from canonize.adapt.losses import distillation_loss, prior_loss, task_loss

__all__ = ["Epoch", "FitLog", "adapt", "bootstrap", "distillation_loss", "prior_loss", "task_loss"]
