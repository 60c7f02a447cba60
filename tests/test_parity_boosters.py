"""The objectives reproduce those of XGBoost, LightGBM and CatBoost, where these are installed."""

import pickle
from inspect import signature

import numpy as np
import pytest

from cekernels.objectives import Binary, Softmax

# Of raw predictions after ROUNDS rounds. XGBoost keeps margins in float32.
CLOSE = {"rtol": 0, "atol": 1e-6}
ROUNDS = 10
N_CLASSES = 3
XGBOOST = {"max_depth": 3, "eta": 0.3, "nthread": 1}
LIGHTGBM = {"num_threads": 1, "verbose": -1, "min_data_in_leaf": 5}
CATBOOST = {
    "iterations": ROUNDS,
    "depth": 3,
    "learning_rate": 0.3,
    "thread_count": 1,
    "verbose": False,
    "allow_writing_files": False,
    "bootstrap_type": "No",
    "boosting_type": "Plain",
    "leaf_estimation_iterations": 1,
}


@pytest.fixture
def data():
    """Return features, labels of two and of three classes, and weights."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 5))
    scores = X[:, :N_CLASSES] + 0.5 * rng.normal(size=(400, N_CLASSES))
    return X, (scores[:, 0] > 0.7).astype(int), scores.argmax(axis=1), rng.random(400) + 0.5


@pytest.fixture(params=[False, True], ids=["unweighted", "weighted"])
def weighted(request):
    return request.param


class TestXGBoost:
    @pytest.fixture
    def xgboost(self):
        return pytest.importorskip("xgboost")

    def train(self, xgboost, X, y, weight, builtin, objective, **params):
        """Return raw predictions of the built-in objective and of ours."""
        matrix = xgboost.DMatrix(X, y, weight=weight)
        params = XGBOOST | params
        start, base = params.pop("base_score", (0.5, 0.0))
        theirs = xgboost.train(params | builtin | {"base_score": start}, matrix, ROUNDS)
        params.pop("scale_pos_weight", None)
        ours = xgboost.train(params | {"base_score": base}, matrix, ROUNDS, obj=objective)
        return [model.predict(matrix, output_margin=True) for model in (theirs, ours)]

    @pytest.mark.parametrize("pos_weight", [None, 3.0])
    def test_binary(self, xgboost, data, weighted, pos_weight):
        X, y, _, weight = data
        builtin = {"objective": "binary:logistic"}
        builtin |= {} if pos_weight is None else {"scale_pos_weight": pos_weight}
        objective = Binary(pos_weight=pos_weight).for_xgboost()
        weight = weight if weighted else None
        theirs, ours = self.train(xgboost, X, y, weight, builtin, objective)
        np.testing.assert_allclose(ours, theirs, **CLOSE)

    def test_initial_score(self, xgboost, data):
        X, y, _, weight = data
        start = np.average(y, weights=weight), Binary().init_score(y, weight)
        builtin, objective = {"objective": "binary:logistic"}, Binary().for_xgboost()
        theirs, ours = self.train(xgboost, X, y, weight, builtin, objective, base_score=start)
        np.testing.assert_allclose(ours, theirs, **CLOSE)

    def test_softmax(self, xgboost, data, weighted):
        X, _, y, weight = data
        weight = weight if weighted else None
        builtin, objective = {"objective": "multi:softprob"}, Softmax().for_xgboost()
        theirs, ours = self.train(
            xgboost, X, y, weight, builtin, objective, num_class=N_CLASSES, base_score=(0.0, 0.0)
        )
        np.testing.assert_allclose(ours, theirs, **CLOSE)

    @pytest.mark.parametrize("several", [False, True])
    def test_estimators(self, xgboost, data, several):
        X, two, three, weight = data
        y, loss = (three, Softmax()) if several else (two, Binary())
        options = {"n_estimators": ROUNDS, "max_depth": 3, "n_jobs": 1}
        theirs = xgboost.XGBClassifier(**options)
        start = (
            loss.init_score(y, N_CLASSES, weight).tolist()
            if several
            else float(loss.predict_proba(loss.init_score(y, weight)))
        )
        ours = xgboost.XGBClassifier(
            **options,
            objective=loss.for_xgboost(),
            eval_metric=loss.metric_for_xgboost("ce"),
            base_score=start,
        )
        fit = {"sample_weight": weight, "eval_set": [(X, y)], "verbose": False}
        proba = [model.fit(X, y, **fit).predict_proba(X) for model in (ours, theirs)]
        np.testing.assert_allclose(*proba, **CLOSE)
        (want,) = theirs.evals_result()["validation_0"].values()
        np.testing.assert_allclose(ours.evals_result()["validation_0"]["ce"], want, **CLOSE)
        again = pickle.loads(pickle.dumps(ours))
        np.testing.assert_array_equal(again.predict_proba(X), proba[0])

    def test_metric_of_train(self, xgboost, data):
        X, y, _, weight = data
        matrix, result = xgboost.DMatrix(X, y, weight=weight), {}
        xgboost.train(
            XGBOOST | {"disable_default_eval_metric": True, "base_score": 0.0},
            matrix,
            3,
            obj=Binary(gamma=2.0).for_xgboost(),
            custom_metric=Binary(gamma=2.0).metric_for_xgboost("focal"),
            evals=[(matrix, "train")],
            evals_result=result,
            verbose_eval=False,
        )
        losses = result["train"]["focal"]
        assert losses[0] > losses[1] > losses[2] > 0.0


class TestLightGBM:
    @pytest.fixture
    def lightgbm(self):
        return pytest.importorskip("lightgbm")

    def compare(self, lightgbm, data, builtin, objective, start):
        X, y, weight = data
        theirs = lightgbm.train(LIGHTGBM | builtin, lightgbm.Dataset(X, y, weight=weight), ROUNDS)
        scores = np.tile(start, (len(X), 1)) if np.ndim(start) else np.full(len(X), start)
        dataset = lightgbm.Dataset(X, y, weight=weight, init_score=scores)
        params = LIGHTGBM | {k: v for k, v in builtin.items() if k == "num_class"}
        ours = lightgbm.train(params | {"objective": objective}, dataset, ROUNDS)
        raw = ours.predict(X, raw_score=True) + start
        np.testing.assert_allclose(raw, theirs.predict(X, raw_score=True), **CLOSE)

    @pytest.mark.parametrize("pos_weight", [None, 3.0])
    @pytest.mark.parametrize("average", [False, True])
    def test_binary(self, lightgbm, data, weighted, pos_weight, average):
        X, y, _, weight = data
        weight = weight if weighted else None
        builtin = {"objective": "binary", "boost_from_average": average}
        builtin |= {} if pos_weight is None else {"scale_pos_weight": pos_weight}
        objective = Binary(pos_weight=pos_weight).for_lightgbm()
        start = Binary().init_score(y, weight) if average else 0.0
        self.compare(lightgbm, (X, y, weight), builtin, objective, start)

    @pytest.mark.parametrize("average", [False, True])
    def test_softmax(self, lightgbm, data, weighted, average):
        X, _, y, weight = data
        weight = weight if weighted else None
        builtin = {
            "objective": "multiclass",
            "num_class": N_CLASSES,
            "boost_from_average": average,
        }
        start = Softmax().init_score(y, N_CLASSES, weight) if average else np.zeros(N_CLASSES)
        self.compare(lightgbm, (X, y, weight), builtin, Softmax().for_lightgbm(), start)

    def test_estimators(self, lightgbm, data):
        X, y, several, weight = data
        options = {"n_estimators": ROUNDS, "n_jobs": 1, "verbose": -1}
        for loss, labels, name in (
            (Binary(), y, "binary_logloss"),
            (Softmax(), several, "multi_logloss"),
        ):
            fit = {"sample_weight": weight, "eval_sample_weight": [weight]}
            if "eval_X" in signature(lightgbm.LGBMClassifier.fit).parameters:
                fit |= {"eval_X": (X,), "eval_y": (labels,)}
            else:
                fit |= {"eval_set": [(X, labels)]}
            model = lightgbm.LGBMClassifier(**options, objective=loss.for_lightgbm())
            model.fit(X, labels, **fit, eval_metric=loss.metric_for_lightgbm("ce"))
            theirs = lightgbm.LGBMClassifier(**options, boost_from_average=False)
            theirs.fit(X, labels, **fit)
            raw = [each.predict(X, raw_score=True) for each in (model, theirs)]
            np.testing.assert_allclose(*raw, **CLOSE)
            (scores,), (want,) = (each.evals_result_.values() for each in (model, theirs))
            np.testing.assert_allclose(scores["ce"], want[name], **CLOSE)
            again = pickle.loads(pickle.dumps(model))
            np.testing.assert_array_equal(again.predict(X, raw_score=True), raw[0])


class TestCatBoost:
    @pytest.fixture
    def catboost(self):
        return pytest.importorskip("catboost")

    @pytest.mark.parametrize("kind", ["Logloss", "MultiClass"])
    def test_builtin(self, catboost, data, weighted, kind):
        X, y, several, weight = data
        y, weight = (y if kind == "Logloss" else several), weight if weighted else None
        builtin = {"boost_from_average": False} if kind == "Logloss" else {}
        theirs = catboost.CatBoost({**CATBOOST, **builtin, "loss_function": kind})
        loss, classes = (Binary(), {}) if kind == "Logloss" else (Softmax(), {"classes_count": 3})
        ours = catboost.CatBoost(
            {
                **CATBOOST,
                **classes,
                "loss_function": loss.for_catboost(),
                "eval_metric": loss.metric_for_catboost(),
            }
        )
        raw = [
            model.fit(X, y, sample_weight=weight).predict(X, prediction_type="RawFormulaVal")
            for model in (ours, theirs)
        ]
        np.testing.assert_allclose(*raw, **CLOSE)
        (score,) = ours.get_best_score()["learn"].values()
        want = loss.metric_for_lightgbm()(y, raw[0], weight)[1]
        assert score == pytest.approx(want, rel=1e-6)

    def test_focal(self, catboost, data):
        X, y, several, _ = data
        for loss, labels in ((Binary(gamma=2.0, alpha=0.75), y), (Softmax(gamma=1.0), several)):
            options = {"loss_function": loss.for_catboost(), "classes_count": len(set(labels))}
            options["eval_metric"] = loss.metric_for_catboost()
            model = catboost.CatBoost({**CATBOOST, **options}).fit(X, labels)
            raw = model.predict(X, prediction_type="RawFormulaVal")
            predicted = raw > 0.0 if raw.ndim == 1 else raw.argmax(axis=1)
            assert np.mean(predicted == labels) > 0.7
