"""Transformer and estimators keep scikit-learn's contract and the claim."""

import pickle

import numpy as np
import pytest
import torch

from canonize import (
    SE,
    SO,
    Average,
    Best,
    C,
    D,
    Image,
    O,
    Point,
    S,
    Scalar,
    Symmetry,
    SymmetryError,
    Vector,
    Weighted,
    actions,
    nn,
)
from canonize.actions import move
from canonize.actions.base import lossless

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.base import clone  # the library comes first
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Perceptron, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import check_estimator

import canonize.integrations.sklearn as integration
from canonize.integrations.sklearn import (
    CanonicalTransformer,
    SymmetrizedClassifier,
    SymmetrizedRegressor,
)

DIGITS = load_digits()
SORTED = "features in the wrong order are part of the checks' data, so that a linear model of sorted ones scores less"


def brightest_above(x):
    return -x[:, :, : x.shape[2] // 2].mean((1, 2, 3))


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (CanonicalTransformer(), {}),
        (SymmetrizedClassifier(), {}),
        (SymmetrizedRegressor(), {}),
        (SymmetrizedClassifier(RidgeClassifier()), {"check_classifiers_train": SORTED}),
    ],
    ids=str,
)
def test_the_checks_of_scikit_learn(estimator, expected):
    results = check_estimator(estimator, expected_failed_checks=expected, on_skip=None)
    failed = {result["check_name"] for result in results if result["status"] == "xfail"}
    assert failed == set(expected)
    # scikit-learn itself leaves this one out unless SciPy's support for other arrays is turned on.
    skipped = {result["check_name"] for result in results if result["status"] == "skipped"}
    assert skipped <= {"check_array_api_input"}
    assert len(results) > 40


def images():
    draws = torch.rand(8, 1, 4, 4, dtype=torch.float64)
    draws[0] = 0.5
    draws[1] = draws[1] + draws[1].flip(-1)
    draws[2] = (draws[2] > 0.5).double()
    return draws


def clouds():
    draws = torch.randn(8, 5, 3, dtype=torch.float64)
    draws[0] = torch.arange(5.0)[:, None] * torch.tensor([1.0, 2.0, 3.0])
    draws[1, :, 2] = 0
    return draws


def repeated():
    return torch.randint(3, (8, 6), dtype=torch.float64)


FORMS = {
    "C4": (Symmetry(C(4), Image(), Scalar()), None, images),
    "D4": (Symmetry(D(4), Image(), Scalar()), None, images),
    "D4 of one pose": (Symmetry(D(4), Image(), Scalar()), Best(brightest_above), images),
    "SO3": (Symmetry(SO(3), Point(), Scalar()), None, clouds),
    "O3": (Symmetry(O(3), Point(), Scalar()), None, clouds),
    "SE3": (Symmetry(SE(3), Point(), Scalar()), None, clouds),
    "set": (None, None, repeated),
    "set of rows": (Symmetry(S(), actions.Nodes(), Scalar()), None, clouds),
}


def table(values):
    return values.flatten(1).numpy()


def copies(claim, values, count=6):
    """(count, rows, *shape) copies of the values and (count, rows) whether each was moved without loss."""
    claim = claim or Symmetry(S(values.shape[1]), actions.Nodes(), Scalar())
    group = S(values.shape[1]) if isinstance(claim.group, S) else claim.group
    g = [group.sample((len(values),), dtype=values.dtype) for _ in range(count)]
    told = [lossless(claim.inputs, one, values).expand(len(values)) for one in g]
    return torch.stack([move(claim.inputs, one, values) for one in g]), torch.stack(told)


@pytest.mark.parametrize("case", FORMS)
def test_copies_have_one_canonical_form(case):
    claim, frame, draw = FORMS[case]
    values = draw()
    transformer = CanonicalTransformer(claim, shape=tuple(values.shape[1:]), frame=frame).fit(table(values))
    forms = transformer.transform(table(values))
    exact = "3" not in case
    for copy in copies(claim, values)[0]:
        again = transformer.transform(table(copy))
        if exact:
            np.testing.assert_array_equal(again, forms)
        else:
            np.testing.assert_allclose(again, forms, atol=1e-9)
        assert not np.allclose(table(copy), table(values)), "the copies must differ"
    if exact:
        np.testing.assert_array_equal(np.sort(forms, 1), np.sort(table(values), 1))
        np.testing.assert_array_equal(transformer.transform(forms), forms)
    distinct = {tuple(row.round(6)) for row in forms}
    assert len(distinct) == len({tuple(sorted(row.round(6))) for row in table(values)}) or not exact
    np.testing.assert_allclose(
        np.concatenate([transformer.transform(row[None]) for row in table(values)]), forms, atol=1e-12
    )


def test_forms_keep_their_precision_and_their_names():
    values = table(images())
    transformer = CanonicalTransformer(FORMS["C4"][0], shape=(1, 4, 4)).fit(values)
    assert transformer.transform(values.astype(np.float32)).dtype == np.float32
    assert transformer.transform(values).dtype == np.float64
    assert list(transformer.get_feature_names_out()[:2]) == ["canonicaltransformer0", "canonicaltransformer1"]
    assert transformer.n_features_in_ == 16


def labelled(values):
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(values[0].numel(), generator=generator, dtype=values.dtype)
    return table(values), (values.flatten(1) @ weights > (values.flatten(1) @ weights).median()).long().numpy()


CLASSIFIERS = [
    (DecisionTreeClassifier(random_state=0), "predict_proba"),
    (LogisticRegression(), "predict_proba"),
    (KNeighborsClassifier(3), "predict_proba"),
    (RidgeClassifier(), "decision_function"),
]


@pytest.mark.parametrize(("estimator", "method"), CLASSIFIERS, ids=lambda part: str(part))
@pytest.mark.parametrize("frame", [None, Best(brightest_above)], ids=["average", "best"])
def test_classifiers_answer_all_copies_alike(estimator, method, frame):
    claim, values = FORMS["C4"][0], torch.rand(30, 1, 4, 4, dtype=torch.float64)
    x, y = labelled(values)
    model = SymmetrizedClassifier(estimator, claim, shape=(1, 4, 4), frame=frame).fit(x, y)
    plain = clone(estimator).fit(x, y)
    scores, broken = getattr(model, method)(x), 0.0
    for copy in copies(claim, values, 4)[0]:
        np.testing.assert_allclose(getattr(model, method)(table(copy)), scores, atol=1e-12)
        broken = max(broken, np.abs(getattr(plain, method)(table(copy)) - getattr(plain, method)(x)).max())
    assert broken > 0.1, "the plain classifier has to break the claim"
    assert hasattr(model, "decision_function") == (method == "decision_function")
    assert model.score(x, y) > 0.5


def test_a_network_of_single_precision_looks_at_a_table_of_double_precision():
    claim, values = FORMS["C4"][0], torch.rand(12, 1, 8, 8, dtype=torch.float64)
    x, y = labelled(values)
    model = SymmetrizedClassifier(LogisticRegression(), claim, shape=(1, 8, 8), frame=Best(nn.Scorer(1))).fit(x, y)
    for copy in copies(claim, values, 4)[0]:
        np.testing.assert_allclose(model.predict_proba(table(copy)), model.predict_proba(x), atol=1e-12)


def test_average_is_training_on_all_turns_and_averaging_over_them():
    claim, values = FORMS["C4"][0], torch.rand(30, 1, 4, 4, dtype=torch.float64)
    x, y = labelled(values)
    model = SymmetrizedClassifier(LogisticRegression(), claim, shape=(1, 4, 4)).fit(x, y)
    pictures = x.reshape(-1, 4, 4)
    turned = [np.rot90(pictures, turn, (1, 2)).reshape(-1, 16) for turn in range(4)]
    naive = LogisticRegression().fit(np.concatenate(turned), np.tile(y, 4))
    mean = np.mean([naive.predict_proba(copy) for copy in turned], 0)
    np.testing.assert_allclose(model.predict_proba(x), mean, atol=1e-5)
    assert (model.predict(x) == mean.argmax(1)).all()


REGRESSORS = {
    "vectors": (Symmetry(C(4), Point(), Vector()), None, lambda: torch.randn(20, 3, 2, dtype=torch.float64)),
    "rotations": (Symmetry(SO(3), Point(), Vector()), None, lambda: torch.randn(20, 4, 3, dtype=torch.float64)),
    "weighted": (Symmetry(SO(2), Point(), Vector()), Weighted(), lambda: torch.randn(20, 4, 2, dtype=torch.float64)),
    "nodes": (
        Symmetry(S(), actions.Nodes(), actions.Nodes()),
        None,
        lambda: torch.randn(20, 3, 2, dtype=torch.float64),
    ),
    "energies": (Symmetry(SE(3), Point(), Scalar()), None, lambda: torch.randn(20, 4, 3, dtype=torch.float64)),
}


@pytest.mark.parametrize("estimator", [Ridge(), KNeighborsRegressor(2)], ids=str)
@pytest.mark.parametrize("case", REGRESSORS)
def test_regressors_turn_with_their_inputs(case, estimator):
    claim, frame, draw = REGRESSORS[case]
    values = draw()
    group = S(values.shape[1]) if isinstance(claim.group, S) else claim.group
    y = {"nodes": values[..., 0] ** 3, "energies": values.square().sum((1, 2))}.get(case, values[:, 0] + 0.3)
    model = SymmetrizedRegressor(estimator, claim, shape=tuple(values.shape[1:]), frame=frame)
    model.fit(table(values), y.numpy())
    g = group.sample((20,), dtype=values.dtype)
    answers = torch.from_numpy(model.predict(table(values)))
    turned = torch.from_numpy(model.predict(table(move(claim.inputs, g, values))))
    assert answers.shape == y.shape
    torch.testing.assert_close(turned, move(claim.outputs, g, answers), atol=1e-9, rtol=1e-9)
    plain = clone(estimator).fit(table(values), y.numpy())
    away = torch.from_numpy(plain.predict(table(move(claim.inputs, g, values))))
    off = away - move(claim.outputs, g, torch.from_numpy(plain.predict(table(values))))
    assert off.abs().max() > 1e-3, "the plain regressor has to break the claim"


@pytest.mark.parametrize("case", ["vectors", "rotations", "weighted"])
def test_what_turns_with_its_inputs_is_learned(case):
    """Targets have to be turned back with their inputs: then a linear law of vectors is found exactly."""
    claim, frame, draw = REGRESSORS[case]
    values = draw()
    y = (values[:, 0] - 2 * values[:, 1]).numpy()
    model = SymmetrizedRegressor(Ridge(1e-9), claim, shape=tuple(values.shape[1:]), frame=frame)
    np.testing.assert_allclose(model.fit(table(values), y).predict(table(values)), y, atol=1e-6)


def test_weights_of_samples_and_of_poses_reach_the_estimator():
    values = torch.randn(12, 4, 2, dtype=torch.float64)
    y = values.square().sum((1, 2)).numpy()
    claim = Symmetry(SO(2), Point(), Scalar())
    for frame in (Weighted(), None):
        twice = SymmetrizedRegressor(Ridge(), claim, shape=(4, 2), frame=frame)
        once = clone(twice).fit(table(values), y, sample_weight=np.r_[2.0, np.ones(11)])
        twice.fit(np.concatenate([table(values[:1]), table(values)]), np.r_[y[:1], y])
        plain = clone(twice).fit(table(values), y)
        np.testing.assert_allclose(once.predict(table(values)), twice.predict(table(values)), rtol=1e-8)
        assert not np.allclose(plain.predict(table(values)), twice.predict(table(values)), rtol=1e-8)
    with pytest.raises(SymmetryError, match="takes no sample_weight"):
        SymmetrizedRegressor(KNeighborsRegressor(), claim, shape=(4, 2)).fit(table(values), y, sample_weight=y)


def test_search_pipelines_and_copies():
    values = torch.rand(40, 1, 4, 4, dtype=torch.float64)
    x, y = labelled(values)
    turns = FORMS["C4"][0]
    steps = make_pipeline(CanonicalTransformer(turns, shape=(1, 4, 4)), StandardScaler(), LogisticRegression())
    grid = {"canonicaltransformer__frame": [None, Best(brightest_above)], "logisticregression__C": [0.1, 1.0]}
    search = GridSearchCV(steps, grid, cv=2).fit(x, y)
    for copy in copies(turns, values, 2)[0]:
        np.testing.assert_array_equal(search.predict(table(copy)), search.predict(x))
    wrapped = SymmetrizedClassifier(LogisticRegression(), turns, shape=(1, 4, 4))
    found = GridSearchCV(wrapped, {"estimator__C": [0.1, 1.0], "frame": [None, Average()]}, cv=2).fit(x, y)
    assert set(found.best_params_) == {"estimator__C", "frame"}
    assert len(cross_val_score(wrapped, x, y, cv=2, scoring="neg_log_loss")) == 2
    fitted = clone(wrapped).set_params(estimator__C=0.5).fit(x, y)
    other = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(other.predict_proba(x), fitted.predict_proba(x))
    assert clone(other).get_params()["symmetry"] == turns
    assert not hasattr(clone(other), "estimator_")


def test_nothing_else_moves():
    values = torch.rand(30, 1, 4, 4, dtype=torch.float64)
    x, y = labelled(values)
    before, given = torch.get_rng_state(), x.copy()
    frame = Best(brightest_above).train()
    SymmetrizedClassifier(LogisticRegression(), FORMS["C4"][0], shape=(1, 4, 4), frame=frame).fit(x, y).predict(x)
    CanonicalTransformer(FORMS["C4"][0], shape=(1, 4, 4), frame=frame).fit_transform(x)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(x, given)
    assert frame.training


def test_wrong_usage_is_told():
    x, y = labelled(torch.rand(10, 1, 4, 4, dtype=torch.float64))
    turns = FORMS["C4"][0]
    with pytest.raises(SymmetryError, match=r"does not hold the features[\s\S]*18 entries, and 16 features"):
        CanonicalTransformer(turns, shape=(1, 6, 3)).fit(x)
    with pytest.raises(SymmetryError, match="needs the claim"):
        CanonicalTransformer(C(4), shape=(1, 4, 4)).fit(x)
    with pytest.raises(SymmetryError, match=r"CanonicalTransformer: nobody says"):
        CanonicalTransformer(turns).fit(x)
    with pytest.raises(NotFittedError):
        CanonicalTransformer(turns).transform(x)
    with pytest.raises(SymmetryError, match=r"classes stand still[\s\S]*SymmetrizedRegressor"):
        SymmetrizedClassifier(symmetry=Symmetry(C(4), Image(), Image()), shape=(1, 4, 4)).fit(x, y)
    with pytest.raises(SymmetryError, match="targets that turn"):
        SymmetrizedRegressor(symmetry=Symmetry(C(4), Image(), Vector()), shape=(1, 4, 4)).fit(x, y)
    assert not hasattr(SymmetrizedClassifier(Perceptron(), turns, shape=(1, 4, 4)).fit(x, y), "predict_proba")


def votes(turn, rows=400):
    """What ten trees, shown digits in all quarter turns, predict for digits in one of them."""
    images = DIGITS.images[:rows]
    forest = SymmetrizedClassifier(
        RandomForestClassifier(10, random_state=0), Symmetry(C(4), Image(), Scalar()), shape=(1, 8, 8)
    )
    forest.fit(images[:100].reshape(-1, 64), DIGITS.target[:100])
    turned = np.rot90(images, turn, (1, 2)).reshape(rows, 64)
    return forest.predict_proba(turned), forest.predict(turned)


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_tied_votes_fall_the_same_way_at_each_turn(turn):
    """The sum of the answers does not depend on the order of the poses, not even in its last bit."""
    (proba, classes), (turned, others) = votes(0), votes(turn)
    assert np.array_equal(proba, turned)
    assert np.array_equal(classes, others)
    assert (np.sort(proba, 1)[:, -1] == np.sort(proba, 1)[:, -2]).any(), "there are ties"


def test_a_sum_in_the_order_of_the_poses_is_caught(monkeypatch):
    """The planted fault."""
    monkeypatch.setattr(integration, "_in_order", lambda answers: answers)
    assert any((votes(0)[1] != votes(turn)[1]).any() for turn in (1, 2, 3))
