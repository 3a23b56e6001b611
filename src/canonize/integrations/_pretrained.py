"""A symmetrized model of transformers in the dress of one, as pipelines want it."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from canonize._tree import describe
from canonize.errors import refuse
from canonize.symmetrize import Symmetrized

# What pipelines ask of a model beside calling it. No more: a method of the model would run it without its symmetry.
_ASKED = frozenset(
    {"base_model_prefix", "framework", "generation_config", "hf_device_map", "input_modalities", "main_input_name",
     "name_or_path", "output_modalities"}
)  # fmt: skip


def as_pretrained(upright: Symmetrized) -> nn.Module:
    """The symmetrized model as pipelines want it: with `config`, `device`, `dtype`, and the name of the model's class.

    For `pipeline("image-classification", model=as_pretrained(upright), image_processor=processor)`. It is called as
    `upright` is, and shares its weights; `symmetrized` is `upright` itself. `save_pretrained(folder)` writes the model there
    and the claim and the frame to `folder/canonizer`, from where `symmetrize(model, *load(folder / "canonizer"))` makes it
    again.

    Args:
        upright: a model of transformers, symmetrized with the claim of `image_symmetry`.

    Returns:
        A module. Methods of the model other than those named are left out, because they would run it without its symmetry:
        `upright.model` has them.

    Raises:
        SymmetryError: no symmetrized model of transformers; on saving, a frame that cannot be saved without code.

    Example:
        >>> import torch
        >>> from transformers import ViTConfig, ViTForImageClassification
        >>> from canonize import Best, C, Confidence, symmetrize
        >>> from canonize.integrations.transformers import as_pretrained, image_symmetry
        >>> config = ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=16, patch_size=8)
        >>> model = ViTForImageClassification(config).eval()
        >>> upright = symmetrize(model, image_symmetry(model, C(4)), Best(Confidence(model)))
        >>> dressed = as_pretrained(upright)
        >>> type(dressed).__name__, dressed.config is config, dressed.device
        ('ViTForImageClassification', True, device(type='cpu'))
    """
    if not isinstance(upright, Symmetrized) or not isinstance(upright.model, PreTrainedModel):
        raise refuse(
            "as_pretrained takes a symmetrized model of transformers",
            got=describe(upright) + (f" of {describe(upright.model)}" if isinstance(upright, Symmetrized) else ""),
            expected="what symmetrize returned for a PreTrainedModel",
            fix="as_pretrained(symmetrize(model, image_symmetry(model, C(4)), frame))",
        )
    made: nn.Module = _dressed(type(upright.model).__name__)(upright)
    return made


class _Dressed(nn.Module):
    """What all dressed models do."""

    def __init__(self, upright: Symmetrized) -> None:
        super().__init__()
        self.symmetrized = upright
        self.training = upright.training

    def forward(self, **inputs: Any) -> Any:
        """As the symmetrized model."""
        return self.symmetrized(**inputs)

    @property
    def config(self) -> Any:
        """The model's own."""
        return self.symmetrized.model.config

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        found: torch.device = self.symmetrized.model.device
        return found

    @property
    def dtype(self) -> torch.dtype:
        """Of the model's weights."""
        found: torch.dtype = self.symmetrized.model.dtype
        return found

    def can_generate(self) -> bool:
        """Never: what is drawn word after word has no frame."""
        return False

    def save_pretrained(self, folder: str | os.PathLike[str], **options: Any) -> None:
        """Write the model to `folder` and the claim and the frame to `folder/canonizer`; `options` are the model's.

        Raises:
            SymmetryError: a frame that cannot be saved without code; nothing is written then.
        """
        from canonize.integrations.safetensors import save

        save(self.symmetrized, Path(folder) / "canonizer")
        self.symmetrized.model.save_pretrained(folder, **options)

    def __getattr__(self, name: str) -> Any:
        if name in _ASKED:
            return getattr(self.symmetrized.model, name)
        return super().__getattr__(name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        # The class is made on the spot, so that it cannot be found by its name.
        return _undressed, (type(self).__name__,), self.__dict__


@lru_cache
def _dressed(name: str) -> Any:
    """The class with the name by which pipelines know whether they support a model."""
    return type(name, (_Dressed,), {"__module__": __name__, "__doc__": f"{name}, symmetrized."})


def _undressed(name: str) -> Any:
    """An empty instance, for pickle and copy to fill."""
    kind = _dressed(name)
    return kind.__new__(kind)
