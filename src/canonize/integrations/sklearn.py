"""scikit-learn: rows in canonical form, and any classifier or regressor with the symmetry of its problem.

Rows of a table stand for whatever they were flattened from: `shape=` says how, batch axis left out, and the claim says how it
moves. Everything here is an estimator like any other: it can be cloned, put in a pipeline and searched over.
"""

# ruff: noqa: N803  # scikit-learn's own name for a table is X, and callers may pass it by that name

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import numpy as np
import torch
from sklearn.base import (
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    MetaEstimatorMixin,
    RegressorMixin,
    TransformerMixin,
    clone,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, has_fit_parameter, validate_data
from torch import Tensor

from canonize.actions import Scalar
from canonize.actions.single import sure_of_batches
from canonize.actions.trees import at, move
from canonize.adapt.modes import in_eval
from canonize.errors import refuse
from canonize.integrations._posed import ROWS, Posed, first, seeing
from canonize.symmetrize import Symmetrized
from canonize.symmetry import Symmetry

_CHUNK = 64
"""Poses in one call of an estimator, whose calls cost more than its rows."""


@final
class CanonicalTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Posed):  # type: ignore[misc]
    """Rows in canonical form: `transform` gives all copies of a sample that the group makes the same row.

    The frame poses each row, and g^-1 · x is its canonical form. Where a row has several poses, as under `Average`, that form
    is taken which comes first in lexicographic order (differences of 1,000 units of rounding count as none), so that each
    finite group has canonical forms whatever the frame. They are equal bit for bit where the group only moves entries, and
    nearly so elsewhere.

    Args:
        symmetry: the claim, of which only the group and the inputs count; where None, that the order of the features does
            not matter: rows are sorted.
        shape: of one sample before it was flattened, without the batch; (n_features,) where None.
        frame: how poses are chosen; `default_frame(symmetry)` where None. One that draws gives no canonical form.

    Attributes:
        n_features_in_: features of the rows, and of what they become.
        feature_names_in_: their names, where the table had any.

    Raises:
        SymmetryError: in `fit` and `transform`, a shape that does not hold the features, no claim, rows that do not fit it.

    Example:
        >>> import numpy as np
        >>> from canonize import C, Image, Scalar, Symmetry
        >>> from canonize.integrations.sklearn import CanonicalTransformer
        >>> turns = CanonicalTransformer(Symmetry(C(4), Image(), Scalar()), shape=(1, 2, 2))
        >>> picture = np.array([[3.0, 1.0], [2.0, 4.0]])
        >>> turns.fit_transform(np.stack([picture.ravel(), np.rot90(picture).ravel()]))
        array([[1., 4., 3., 2.],
               [1., 4., 3., 2.]])
    """

    def __init__(
        self, symmetry: Symmetry | None = None, *, shape: tuple[int, ...] | None = None, frame: Any = None
    ) -> None:
        self.symmetry = symmetry
        self.shape = shape
        self.frame = frame

    def fit(self, X: Any, y: Any = None) -> CanonicalTransformer:
        """Only checks that the rows fit the claim.

        Args:
            X: (samples, n_features), finite numbers.
            y: not used.
        """
        rows = self._rows(self._validated(X, reset=True))
        next(self._seen(rows[:1]))
        return self

    def transform(self, X: Any) -> Any:
        """The canonical forms, (samples, n_features), in the dtype of X where that is float32, else in float64."""
        check_is_fitted(self)
        table = self._validated(X, reset=False)
        found = [first(shown, weights > 0) for _, _, weights, shown in self._seen(self._rows(table))]
        return torch.cat(found).numpy()

    @property
    def _n_features_out(self) -> int:
        return self.n_features_in_

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_features_in_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class _Symmetrized(MetaEstimatorMixin, Posed):  # type: ignore[misc]
    """What classifiers and regressors share: fitting on what will be shown, and the average over poses."""

    _spare: Any
    """The class of the estimator where none is named."""
    estimator_: Any

    def __init__(
        self,
        estimator: Any = None,
        symmetry: Symmetry | None = None,
        *,
        shape: tuple[int, ...] | None = None,
        frame: Any = None,
    ) -> None:
        self.estimator = estimator
        self.symmetry = symmetry
        self.shape = shape
        self.frame = frame

    def _inner(self) -> Any:
        return self._spare(random_state=0) if self.estimator is None else self.estimator

    def _fitted(self, table: Any, targets: Any, sample_weight: Any) -> None:
        """Fit the estimator on each row in each of its poses, which count by their weights."""
        rows, claim = self._rows(table), self._claim()
        inner = clone(self._inner())
        weighted = has_fit_parameter(inner, "sample_weight")
        if sample_weight is not None:
            if not weighted:
                raise refuse(
                    f"{type(self).__name__}: the estimator takes no sample_weight",
                    got=f"sample_weight and {type(inner).__name__}",
                    expected="an estimator whose fit takes sample_weight",
                    fix="leave sample_weight out, or take another estimator",
                )
            sample_weight = _check_sample_weight(sample_weight, table)
        given = np.ones(len(table)) if sample_weight is None else sample_weight
        inputs, answers, shares = [], [], []
        for part, elements, weights, shown in self._seen(rows):
            for k, share in enumerate(weights.double().numpy()):
                used = share > 0
                inputs.append(shown[k].numpy()[used])
                answers.append(_turned_back(claim, at(elements, k), targets[part])[used])
                shares.append((share * given[part])[used])
        weight = np.concatenate(shares)
        needed = sample_weight is not None or (weighted and np.ptp(weight) > 0)
        self.estimator_ = inner.fit(
            np.concatenate(inputs), np.concatenate(answers), **({"sample_weight": weight} if needed else {})
        )

    def _averaged(self, X: Any, method: str, outputs: Any) -> Any:
        """sum_k w_k g_k · estimator(g_k^-1 · x), with `method` of the estimator as the model."""
        check_is_fitted(self)
        rows = self._rows(self._validated(X, reset=False))
        claim = Symmetry(self._claim().group, self._claim().inputs, outputs)
        ask: Callable[[Any], Any] = getattr(self.estimator_, method)
        if outputs == Scalar():
            return np.concatenate(
                [_mean(ask, weights.numpy(), shown.numpy()) for _, _, weights, shown in self._seen(rows)]
            )

        def model(shown: Tensor) -> Tensor:
            answer = ask(shown.flatten(1).numpy())
            return torch.from_numpy(np.array(answer, dtype=np.float64))

        posed = Symmetrized(model, claim, seeing(self.frame), chunk=_CHUNK)
        with in_eval(posed), torch.no_grad(), sure_of_batches():
            parts = [posed(rows[start : start + ROWS]) for start in range(0, len(rows), ROWS)]
        return torch.cat(parts).numpy()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.non_deterministic = get_tags(self._inner()).non_deterministic
        return tags


def _inner_has(*methods: str, without: str = "") -> Callable[[Any], bool]:
    def check(self: Any) -> bool:
        inner = self.estimator_ if hasattr(self, "estimator_") else self._inner()
        return all(hasattr(inner, name) for name in methods) and not (without and hasattr(inner, without))

    return check


@final
class SymmetrizedClassifier(ClassifierMixin, _Symmetrized):  # type: ignore[misc]
    """A classifier that gives all copies of a sample that the group makes the same class, whatever classifier is behind it.

    The estimator is fitted on the rows as the frame poses them, once in each pose, and probabilities are averaged over the
    poses of a row, sum_k w_k · predict_proba(g_k^-1 · x), by size: no order of poses breaks a tie of votes. With `Average` that
    is training on all copies and averaging over them; with a frame of one pose it is training on canonical forms. Where the
    group only moves entries, trees give all copies of a row the same probabilities, bit for bit.

    Args:
        estimator: a classifier with `predict_proba` or `decision_function`; a decision tree where None.
        symmetry: the claim, with outputs `Scalar()`; where None, that the order of the features does not matter.
        shape: of one sample before it was flattened, without the batch; (n_features,) where None.
        frame: how poses are chosen; `default_frame(symmetry)` where None.

    Attributes:
        estimator_: the fitted estimator.
        classes_: the classes, as they stand in the columns of `predict_proba`.
        n_features_in_: features of the rows.
        feature_names_in_: their names, where the table had any.

    Poses that do not count alike are given to the estimator as `sample_weight`; where its `fit` takes none, they all count one.

    Raises:
        SymmetryError: in `fit` and `predict`, as for `CanonicalTransformer`; outputs other than `Scalar()`; weights for an
            estimator that takes none.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.linear_model import RidgeClassifier
        >>> from canonize import C, Image, Scalar, Symmetry
        >>> from canonize.integrations.sklearn import SymmetrizedClassifier
        >>> X, y = load_digits(return_X_y=True)
        >>> turns = Symmetry(C(4), Image(), Scalar())
        >>> model = SymmetrizedClassifier(RidgeClassifier(), turns, shape=(1, 8, 8)).fit(X[:200], y[:200])
        >>> turned = X.reshape(-1, 8, 8)[:, ::-1, ::-1].reshape(-1, 64)
        >>> bool((model.predict(turned) == model.predict(X)).all())
        True
    """

    _spare = DecisionTreeClassifier
    classes_: Any

    def __sklearn_tags__(self) -> Any:
        tags, inner = super().__sklearn_tags__(), get_tags(self._inner())
        if inner.classifier_tags is not None:
            tags.classifier_tags.multi_class = inner.classifier_tags.multi_class
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SymmetrizedClassifier:
        """Fit the estimator on the rows as the frame poses them.

        Args:
            X: (samples, n_features), finite numbers.
            y: (samples,), classes.
            sample_weight: (samples,), where the estimator takes it.
        """
        if self._claim().outputs != Scalar():
            raise refuse(
                "SymmetrizedClassifier: classes stand still",
                got=f"outputs={self._claim().outputs!r}",
                expected="outputs=Scalar()",
                fix="Symmetry(group, inputs, Scalar()); SymmetrizedRegressor predicts what turns with its input",
            )
        table, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self._fitted(table, y, sample_weight)
        self.classes_ = self.estimator_.classes_
        return self

    @available_if(_inner_has("predict_proba"))  # type: ignore[untyped-decorator, unused-ignore]
    def predict_proba(self, X: Any) -> Any:
        """Probabilities averaged over the poses, (samples, classes); there where the estimator has them."""
        return self._averaged(X, "predict_proba", Scalar())

    @available_if(_inner_has("decision_function", without="predict_proba"))  # type: ignore[untyped-decorator, unused-ignore]
    def decision_function(self, X: Any) -> Any:
        """Scores averaged over the poses, (samples,) or (samples, classes); where the estimator has no probabilities."""
        return self._averaged(X, "decision_function", Scalar())

    def predict(self, X: Any) -> Any:
        """The class of the largest averaged probability or score, (samples,)."""
        check_is_fitted(self)
        names = [name for name in ("predict_proba", "decision_function") if hasattr(self.estimator_, name)]
        if not names:
            raise refuse(
                "SymmetrizedClassifier: classes cannot be averaged",
                got=f"{type(self.estimator_).__name__} without predict_proba and decision_function",
                expected="either of them",
                fix="an estimator with probabilities, or make_pipeline(CanonicalTransformer(...), estimator)",
            )
        scores = self._averaged(X, names[0], Scalar())
        best = scores.argmax(1) if scores.ndim == 2 else (scores > 0).astype(int)
        return self.classes_[best]


@final
class SymmetrizedRegressor(RegressorMixin, _Symmetrized):  # type: ignore[misc]
    """A regressor with the claimed symmetry, whatever regressor is behind it: sum_k w_k · g_k · predict(g_k^-1 · x).

    Targets may turn with their inputs, as forces do: each row is shown in each of its poses, with its target turned along.

    Args:
        estimator: a regressor; a decision tree where None.
        symmetry: the claim; where None, that the order of the features does not matter. Outputs other than `Scalar()`, such as
            `Vector()`, are actions on one row of y.
        shape: of one sample before it was flattened, without the batch; (n_features,) where None.
        frame: how poses are chosen; `default_frame(symmetry)` where None.

    Attributes:
        estimator_: the fitted estimator.
        n_features_in_: features of the rows.
        feature_names_in_: their names, where the table had any.

    Weights and errors are those of `SymmetrizedClassifier`.

    Example:
        >>> import numpy as np
        >>> from sklearn.linear_model import Ridge
        >>> from canonize import C, Point, Symmetry, Vector
        >>> from canonize.integrations.sklearn import SymmetrizedRegressor
        >>> points = np.random.default_rng(0).normal(size=(40, 6))  # three points in the plane
        >>> forces = points[:, :2] - points[:, 2:4] + 0.1
        >>> model = SymmetrizedRegressor(Ridge(), Symmetry(C(4), Point(), Vector()), shape=(3, 2)).fit(points, forces)
        >>> quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
        >>> turned = (points.reshape(-1, 3, 2) @ quarter.T).reshape(-1, 6)
        >>> bool(np.allclose(model.predict(turned), model.predict(points) @ quarter.T))
        True
    """

    _spare = DecisionTreeRegressor

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = get_tags(self._inner()).target_tags.multi_output
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SymmetrizedRegressor:
        """Fit the estimator on the rows as the frame poses them.

        Args:
            X: (samples, n_features), finite numbers.
            y: (samples,) or (samples, outputs), which moves as the claim says.
            sample_weight: (samples,), where the estimator takes it.
        """
        multi = get_tags(self).target_tags.multi_output
        table, y = validate_data(self, X, y, dtype=[np.float64, np.float32], multi_output=multi, y_numeric=True)
        self._fitted(table, y, sample_weight)
        return self

    def predict(self, X: Any) -> Any:
        """The averaged answers, each turned back, (samples,) or (samples, outputs), in float64."""
        return self._averaged(X, "predict", self._claim().outputs)


def _mean(ask: Callable[[Any], Any], weights: Any, shown: Any) -> Any:
    """sum_k w_k · ask(shown_k), (rows, ...) float64, which does not depend on the order of the poses in any bit.

    Args:
        ask: a method of an estimator.
        weights: (k, rows).
        shown: (k, rows, features). What has no weight is not asked about.
    """
    answers = None
    for start in range(0, len(weights), _CHUNK):
        part = slice(start, start + _CHUNK)
        share = weights[part].astype(np.float64)
        used = share > 0
        if not used.any():
            continue
        found = np.asarray(ask(shown[part][used]), dtype=np.float64)
        if answers is None:
            answers = np.zeros((*weights.shape, *found.shape[1:]))
        answers[part][used] = found * share[used].reshape(-1, *(1,) * (found.ndim - 1))
    assert answers is not None
    total = np.zeros(answers.shape[1:])
    # One after the other, so that summands of zero, of which copies of a row may have more or fewer, change nothing.
    for summand in _in_order(answers):
        total += summand
    return total


def _in_order(answers: Any) -> Any:
    """The summands by size, in place of the order of the poses, which turns with the row: sums of floats depend on it."""
    return np.sort(answers, axis=0)


def _turned_back(claim: Symmetry, element: Any, targets: Any) -> Any:
    """g^-1 · y: the targets as they stand beside inputs that have been turned back."""
    if claim.outputs == Scalar():
        return targets
    values = torch.from_numpy(np.array(targets, dtype=np.float64))
    if values.ndim < 2:
        raise refuse(
            "SymmetrizedRegressor: targets that turn have several components",
            got=f"y of shape {tuple(values.shape)}, declared {claim.outputs!r}",
            expected="y (samples, components)",
            fix="outputs=Scalar() for one number a sample",
        )
    return move(claim.outputs, claim.group.inverse(element), values).numpy()
