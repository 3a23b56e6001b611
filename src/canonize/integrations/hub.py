"""Claims and frames on the Hugging Face Hub: saved, described by a card, pushed and read again, without any code in them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from huggingface_hub import ModelCard, ModelHubMixin, hf_hub_download

from canonize._tree import describe
from canonize.audit.result import Audit
from canonize.errors import SymmetryError, refuse
from canonize.integrations._card import MARK, card
from canonize.integrations.safetensors import CONFIG, WEIGHTS, load, save
from canonize.report import to_json
from canonize.symmetrize import Symmetrized, symmetrize

AUDITS, CARD = "audits.json", "README.md"


@final
class Canonizer(ModelHubMixin, library_name="canonize"):
    """The claim and the frame of a symmetrized model, to be shared: everything but the model.

    `symmetrize(model, *Canonizer.from_pretrained("you/upright"))` puts them to use. The files are those of
    `canonize.integrations.safetensors`, a card for people (`README.md`), and the audits as JSON (`audits.json`). None of
    them can run code, and reading refuses what it does not know.

    Args:
        upright: made by `symmetrize`, with a frame that `canonize.integrations.safetensors.save` knows.

    Attributes:
        symmetry: the claim.
        frame: how poses are chosen; the one of `upright`, not a copy.

    Raises:
        SymmetryError: something else than a symmetrized model.

    Example:
        >>> import tempfile, torch
        >>> from canonize import Best, C, Image, Scalar, Symmetry, audit, nn, symmetrize
        >>> from canonize.integrations.hub import Canonizer
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> upright = symmetrize(model, Symmetry(C(4), Image(), Scalar()), Best(nn.Scorer(1))).eval()
        >>> found = audit(upright, upright.symmetry, torch.rand(32, 1, 8, 8), cost=False)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     place = Canonizer(upright).save_pretrained(folder, audits=found, license="apache-2.0")
        ...     again = symmetrize(model, *Canonizer.from_pretrained(folder))
        >>> x = torch.rand(2, 1, 8, 8)
        >>> torch.equal(again(x), upright(x))
        True
    """

    def __init__(self, upright: Symmetrized) -> None:
        if not isinstance(upright, Symmetrized):
            raise refuse(
                "Canonizer takes a symmetrized model",
                got=f"the class {upright.__name__}" if isinstance(upright, type) else describe(upright),
                expected="what symmetrize returned",
                fix="Canonizer(symmetrize(model, symmetry, frame)).save_pretrained(folder)",
            )
        self.symmetry = upright.symmetry
        self.frame = upright.frame

    def __iter__(self) -> Iterator[Any]:
        """The claim and the frame, for `symmetrize(model, *canonizer)`."""
        return iter((self.symmetry, self.frame))

    def __repr__(self) -> str:
        return f"Canonizer({self.symmetry!r}, {type(self.frame).__name__})"

    def save_pretrained(  # type: ignore[override]  # the mix-in takes a configuration, of which there is none here
        self,
        save_directory: str | os.PathLike[str],
        *,
        audits: Audit | Iterable[Audit] = (),
        license: str | None = None,  # noqa: A002  # the word of the Hub
        base_model: str | None = None,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        config: None = None,
        model_card_kwargs: dict[str, Any] | None = None,
        **options: Any,
    ) -> str | None:
        """The address of the commit where `push_to_hub`, otherwise None; all files are in the folder then.

        Args:
            save_directory: made where it is missing. A card in it that `canonize` has not written, or that has lost its first
                line, is left as it is.
            audits: what the card shows, such as `[before, after]`.
            license: of the weights, for the card: an identifier of the Hub, such as "apache-2.0".
            base_model: the model that the frame was trained beside, for the card.
            repo_id: name on the Hub, which the card then shows; the folder's name where None.
            push_to_hub: whether to push as well.
            config: nothing; the mix-in hands it on.
            model_card_kwargs: the words of the card once more, likewise.
            options: of `push_to_hub`.

        Raises:
            SymmetryError: a frame that cannot be saved without code, no audits, a place that cannot be written to.
        """
        folder = Path(save_directory)
        # Not the whole path: it tells of a machine, and the card is to travel.
        name = folder.resolve().name if repo_id is None else repo_id
        words: dict[str, Any] = {"audits": audits, "license": license, "base_model": base_model, "source": name}
        words |= model_card_kwargs or {}
        found = words["audits"] = _checked(words["audits"])
        described = self.generate_model_card(**words)
        save(symmetrize(_nobody, self.symmetry, self.frame), folder)
        with _told("the canonizer cannot be written", "a folder that can be written to", "choose another place"):
            if found:
                (folder / AUDITS).write_text(to_json(found), encoding="utf-8")
            else:
                # Those of other weights would be no audits of these.
                (folder / AUDITS).unlink(missing_ok=True)
            if not (folder / CARD).exists() or MARK in (folder / CARD).read_text(encoding="utf-8", errors="replace"):
                described.save(folder / CARD)
        if not push_to_hub:
            return None
        return self.push_to_hub(name, audits=found, license=license, base_model=base_model, **options)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        audits: Audit | Iterable[Audit] = (),
        license: str | None = None,  # noqa: A002  # the word of the Hub
        base_model: str | None = None,
        **options: Any,
    ) -> str:
        """The address of the commit, after all files were uploaded in one.

        Args:
            repo_id: such as "you/upright"; made where it is missing.
            audits, license, base_model: as for `save_pretrained`.
            options: of `huggingface_hub.ModelHubMixin.push_to_hub`: `private`, `token`, `branch`, `create_pr`,
                `commit_message`, ...

        Raises:
            SymmetryError: no connection, no permission, a name that is none, a frame that cannot be saved without code.
        """
        told = {"audits": _checked(audits), "license": license, "base_model": base_model, "source": repo_id}
        with _told(
            f"{repo_id!r} cannot be pushed to the Hub",
            "a connection, and a token that may write there",
            "hf auth login; offline, save_pretrained(folder) writes the same files",
        ):
            # It makes the repository, and calls save_pretrained with these words for a folder of its own.
            settled = {"commit_message": "A canonizer"} | options
            address: str = super().push_to_hub(repo_id, model_card_kwargs=told, **settled)
            return address

    @classmethod
    def from_pretrained(  # type: ignore[override]  # the mix-in would read the configuration before it is known to be one
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
    ) -> Canonizer:
        """What was shared, on the CPU and in eval mode.

        Args:
            pretrained_model_name_or_path: a folder, or a name on the Hub, such as "you/upright".
            revision: a branch, tag or commit of the Hub.
            token: for repositories that are not public.
            cache_dir: where downloads are kept.
            force_download: download again what is there already.
            local_files_only: do not ask the Hub at all.

        Raises:
            SymmetryError: no such folder or name, no connection, files that are missing, damaged or no canonizer.
        """
        name = os.fspath(pretrained_model_name_or_path)
        folder = Path(name)
        if not folder.is_dir():
            with _told(
                f"{name!r} cannot be read from the Hub",
                "a folder, or the name of a repository that can be reached",
                "check the name; offline, pass a folder that save_pretrained has written",
            ):
                for file in (CONFIG, WEIGHTS):
                    found = hf_hub_download(
                        name,
                        file,
                        revision=revision,
                        token=token,
                        cache_dir=None if cache_dir is None else Path(cache_dir),
                        force_download=force_download,
                        local_files_only=local_files_only,
                    )
                folder = Path(found).parent
        return cls(symmetrize(_nobody, *load(folder)))

    def generate_model_card(
        self,
        *,
        audits: Audit | Iterable[Audit] = (),
        license: str | None = None,  # noqa: A002  # the word of the Hub
        base_model: str | None = None,
        source: str = "you/upright",
    ) -> ModelCard:
        """The card: the symmetry in words, how to use it, the audits side by side, what it costs.

        Words that come from outside, such as the names of audits, mean nothing to Markdown or HTML in it.

        Args:
            audits, license, base_model: as for `save_pretrained`.
            source: what `from_pretrained` is to be given.
        """
        found = _checked(audits)
        return card(self.symmetry, self.frame, found, source=source, licence=license, base_model=base_model)


def _nobody(*_: Any, **__: Any) -> Any:
    """Stands where a model would: a canonizer has none."""
    raise AssertionError("a canonizer has no model")


def _checked(audits: Any) -> list[Audit]:
    found = [audits] if isinstance(audits, Audit) else audits
    found = list(found) if isinstance(found, Iterable) and not isinstance(found, str) else [found]
    wrong = next((one for one in found if not isinstance(one, Audit)), None)
    if wrong is not None:
        raise refuse(
            "a card shows audits",
            got=describe(wrong),
            expected="what audit returned, one or several",
            fix="save_pretrained(folder, audits=[audit(model, ...), audit(upright, ...)])",
        )
    return found


@contextmanager
def _told(what: str, expected: str, fix: str) -> Iterator[None]:
    """Any error of the Hub, the connection or the disk in the words of the house."""
    try:
        yield
    except SymmetryError:
        raise
    except Exception as error:
        # Which errors a client of the network raises has changed from release to release; none is silenced.
        line = next(iter(str(error).strip().splitlines()), "")
        raise refuse(what, got=f"{type(error).__name__}: {line}", expected=expected, fix=fix) from error
