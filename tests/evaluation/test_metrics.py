from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_recall_fscore_support, roc_auc_score

from kinema.core.errors import DataError, UsageError
from kinema.core.labels import LabelMap
from kinema.evaluation.metrics import (
    ClassRow,
    _auc_of,
    _macro_f1_of,
    mean_interval_iou,
    measure,
    temporal_iou,
)

ABC = LabelMap.of(["a", "b", "c"])
FIGHT = LabelMap.of(["fight", "normal"])


def one_hot(predicted: list[int], count: int, sure: float = 0.8) -> np.ndarray:
    scores = np.full((len(predicted), count), (1 - sure) / (count - 1))
    scores[np.arange(len(predicted)), predicted] = sure
    return scores


def random_case(count: int, n: int = 200, seed: int = 0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, count, n)
    scores = rng.random((n, count)) + 0.7 * np.eye(count)[truth]
    return scores / scores.sum(axis=1, keepdims=True), truth


def test_a_case_counted_by_hand():
    truth = [0, 0, 0, 0, 1, 1, 2]
    found = measure(one_hot([0, 0, 0, 1, 1, 2, 0], 3), truth, level="video", labels=ABC)
    assert found.confusion == ((3, 1, 0), (0, 1, 1), (1, 0, 0))
    assert (found.correct, found.n) == (4, 7)
    assert found.accuracy.value == 4 / 7
    assert found.per_class == (
        ClassRow(0, "a", 3 / 4, 3 / 4, 3 / 4, support=4, predicted=4),
        ClassRow(1, "b", 1 / 2, 1 / 2, 1 / 2, support=2, predicted=2),
        ClassRow(2, "c", 0.0, 0.0, 0.0, support=1, predicted=1),
    )
    assert found.macro.f1 == found.macro_f1.value == pytest.approx((3 / 4 + 1 / 2) / 3)
    assert found.weighted.recall == pytest.approx(4 / 7)
    assert found.top5 is None
    assert found.roc_auc is None
    assert found.roc_auc_missing == "defined for two classes, not 3"


@pytest.mark.parametrize("count", [2, 3, 9])
def test_agrees_with_sklearn(count):
    scores, truth = random_case(count)
    found = measure(scores, truth, level="clip", labels=LabelMap.unknown(count))
    for kind, average in (("macro", found.macro), ("weighted", found.weighted)):
        expected = precision_recall_fscore_support(truth, scores.argmax(axis=1), average=kind, zero_division=0)[:3]
        assert (average.precision, average.recall, average.f1) == pytest.approx(expected)
    assert found.macro_f1.low < found.macro_f1.value < found.macro_f1.high
    if count == 2:
        assert found.roc_auc.value == pytest.approx(roc_auc_score(truth, scores[:, 1]))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_weighted_statistics_agree_with_sklearn(seed):
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, 2, 30), rng.integers(0, 2, 30)
    truth[:2] = 0, 1
    scores = rng.integers(0, 6, 30) / 5  # many ties
    weights = rng.integers(0, 4, 30).astype(float)
    weights[:2] = 1
    positive = truth == 1
    assert _auc_of(scores, positive)(weights) == pytest.approx(roc_auc_score(truth, scores, sample_weight=weights))
    assert _macro_f1_of(truth, predicted, 2)(weights) == pytest.approx(
        f1_score(truth, predicted, average="macro", sample_weight=weights, zero_division=0)
    )


def test_top5_counts_the_five_likeliest():
    scores = np.tile(np.array([0.3, 0.2, 0.15, 0.14, 0.12, 0.09]), (6, 1))
    found = measure(scores, np.arange(6), level="video", labels=LabelMap.unknown(6))
    assert found.accuracy.value == 1 / 6
    assert found.top5.value == 5 / 6


@pytest.mark.parametrize(("target", "absent"), [(0, 1), (1, 0)])
def test_roc_auc_says_why_it_is_missing(target, absent):
    found = measure(one_hot([0, 1, target], 2), [target] * 3, level="video", labels=FIGHT)
    assert found.roc_auc is None
    assert found.roc_auc_missing == f"no sample of class {absent}"


def test_classes_that_never_occur_are_left_out_of_averages():
    found = measure(one_hot([0, 0, 1, 2], 3), [0, 0, 1, 1], level="video", labels=ABC)
    last = found.per_class[2]
    assert (last.precision, last.recall, last.f1, last.support, last.predicted) == (0.0, None, None, 0, 1)
    assert found.macro.f1 == found.macro_f1.value == pytest.approx((1 + 2 / 3) / 2)
    assert any("1 of 3 classes have no video here ('c')" in warning for warning in found.warnings)


def test_a_class_never_predicted_has_no_precision():
    found = measure(one_hot([0, 0], 2), [0, 1], level="video", labels=FIGHT)
    assert found.per_class[1].precision is None
    assert found.per_class[1].f1 == 0
    assert found.macro.precision == pytest.approx(0.25)


def test_groups_are_counted_and_widen():
    truth = np.repeat([0, 1] * 20, 10)
    wrong = np.repeat(np.arange(40) % 5 == 0, 10)
    groups = [f"scene {i // 10}" for i in range(400)]
    found = measure(
        one_hot(list(np.where(wrong, 1 - truth, truth)), 2), truth, level="clip", labels=FIGHT, groups=groups
    )
    assert found.groups == 40
    assert found.accuracy_over_groups.half_width > 2 * found.accuracy.half_width
    assert "40 groups" in found.macro_f1.method
    assert "40 groups" in found.roc_auc.method
    assert any("clips of one group are alike" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("wrong", "options", "said"),
    [
        (0, {}, "video top-1 of n = 21 is known to about ±0.077"),
        (3, {"groups": ["a", "b", "c"] * 7}, "groups: 3 only"),
        (3, {"level": "clip"}, "clips of one video are not independent"),
        (3, {"labels": LabelMap.unknown(2)}, "class names are unknown"),
        (6, {}, "always answering 'fight' would be right on 0.62 of the videos"),
    ],
)
def test_warnings(wrong, options, said):
    truth = [0] * 13 + [1] * 8
    predicted = [1] * wrong + truth[wrong:]
    found = measure(one_hot(predicted, 2), truth, **{"level": "video", "labels": FIGHT, **options})
    assert any(said in warning for warning in found.warnings), found.warnings


def test_many_good_samples_need_no_warning():
    truth = np.arange(4000) % 2
    assert measure(one_hot(list(truth), 2), truth, level="video", labels=FIGHT).warnings == ()


def test_deterministic_and_sensitive_to_the_seed():
    scores, truth = random_case(2)
    first, again, other = (measure(scores, truth, level="clip", labels=FIGHT, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.macro_f1 != other.macro_f1


@pytest.mark.parametrize("level", ["clip", "video"])
def test_json_names_the_level_in_every_figure(level):
    scores, truth = random_case(2)
    record = measure(scores, truth, level=level, labels=FIGHT, groups=["a", "b"] * 100).to_json()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    common = {"level", "n", "groups", "labels", "warnings"}
    assert common < set(record)
    assert all(key.startswith(f"{level}_") for key in set(record) - common)
    assert set(record[f"{level}_top1_accuracy"]) == {"value", "low", "high", "n", "method"}
    assert not any(key == "accuracy" for key in record)


def test_repr():
    found = measure(one_hot([0, 1], 2), [0, 1], level="video", labels=FIGHT, groups=["a", "b"])
    assert repr(found) == "Metrics(video top-1 1.00 [0.34, 1.00], n = 2 in 2 groups)"


@pytest.mark.parametrize(
    ("probabilities", "targets", "options", "error"),
    [
        (np.empty((0, 2)), [], {}, DataError),
        ([[0.5, 0.5]], [0, 1], {}, DataError),
        ([[0.2, 0.3, 0.5]], [0], {}, DataError),
        ([0.5, 0.5], [0, 1], {}, DataError),
        ([[2.0, -1.0]], [0], {}, DataError),
        ([[0.9, 0.9]], [0], {}, DataError),
        ([[math.nan, 1.0]], [0], {}, DataError),
        ([[0.5, 0.5]], [2], {}, DataError),
        ([[0.5, 0.5]], [-1], {}, DataError),
        ([[0.5, 0.5]], [0.0], {}, DataError),
        ([[0.5, 0.5]], [0], {"groups": ["a", "b"]}, DataError),
        ([[0.5, 0.5]], [0], {"level": "frame"}, UsageError),
    ],
)
def test_what_cannot_be_measured_is_refused(probabilities, targets, options, error):
    with pytest.raises(error):
        measure(probabilities, targets, **{"level": "video", "labels": FIGHT, **options})


@dataclass(frozen=True)
class Stretch:
    start_seconds: float
    end_seconds: float


def stretches(*ends: tuple[float, float]) -> list[Stretch]:
    return [Stretch(*pair) for pair in ends]


@pytest.mark.parametrize(
    ("found", "true", "expected"),
    [
        (stretches((0, 4)), stretches((2, 6)), 2 / 6),
        (stretches((0, 1)), stretches((1, 2)), 0.0),
        (stretches((0, 1), (2, 3)), stretches((0, 3)), 2 / 3),
        (stretches((0, 2), (1, 3)), stretches((0, 3)), 1.0),
        (stretches((2, 3), (0, 1)), stretches((0, 1), (2, 3)), 1.0),
        (stretches((0, 9), (1, 2)), stretches((0, 9)), 1.0),
        ([], stretches((0, 1)), 0.0),
        (stretches((0, 1)), [], 0.0),
        ([], [], 1.0),
    ],
    ids=[
        "half over",
        "touching",
        "two of one",
        "overlapping found",
        "unsorted",
        "nested",
        "missed",
        "invented",
        "nothing",
    ],
)
def test_temporal_iou(found, true, expected):
    assert temporal_iou(found, true) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("found", "true", "expected"),
    [
        pytest.param([(0, 4), (6, 9)], [(0, 4), (6, 9)], 1, id="perfect"),
        pytest.param([(6, 9), (0, 4)], [(0, 4), (6, 9)], 1, id="in another order"),
        pytest.param([(0, 4)], [(2, 6)], 2 / 6, id="half over"),
        pytest.param([(0, 4)], [(0, 4), (6, 9)], 1 / 2, id="one missed"),
        pytest.param([(0, 4), (6, 9)], [(0, 4)], 1 / 2, id="one false"),
        pytest.param([(0, 4), (4, 10)], [(0, 10)], 0.6 / 2, id="split in two: the larger part counts"),
        pytest.param([(0, 10)], [(0, 4), (4, 10)], 0.6 / 2, id="two run together"),
        pytest.param([(0, 1)], [(1, 2)], 0, id="touching is missed and false"),
        pytest.param([(0, 2), (10, 11)], [(1, 3)], 1 / 3 / 2, id="half over and one false"),
        pytest.param([(20, 21)], [(0, 4), (6, 9)], 0, id="nothing met"),
        pytest.param([(0, 4), (20, 21)], [(0, 4), (6, 9)], 1 / 3, id="one met, one missed, one false"),
        # (1, 5) meets both alike; given to (2, 6) it would leave (4, 8) without a partner.
        pytest.param([(1, 5), (4, 8)], [(0, 4), (2, 6)], (3 / 5 + 1 / 3) / 2, id="the best sum, not the greediest"),
        pytest.param([(0, 4), (0, 4)], [(0, 4)], 1 / 2, id="found twice"),
        pytest.param([], [(0, 1)], 0, id="missed"),
        pytest.param([(0, 1)], [], 0, id="invented"),
        pytest.param([], [], 1, id="nothing"),
    ],
)
def test_mean_interval_iou(found, true, expected):
    assert mean_interval_iou(stretches(*found), stretches(*true)) == pytest.approx(expected)


def best_of_all_matchings(found, true):
    few, many = sorted((found, true), key=len)
    shares = [
        [temporal_iou([one], [other]) for one, other in zip(few, chosen, strict=True)]
        for chosen in permutations(many, len(few))
    ]
    met = max(shares, key=sum)
    return sum(met) / (len(few) + len(many) - sum(share > 0 for share in met))


interval_sets = st.lists(
    st.tuples(st.floats(0, 1e4), st.floats(0.001, 100)).map(lambda pair: Stretch(pair[0], pair[0] + pair[1])),
    max_size=8,
)


@given(interval_sets, interval_sets)
def test_temporal_iou_is_symmetric_and_a_share(found, true):
    share = temporal_iou(found, true)
    assert 0 <= share <= 1
    assert share == pytest.approx(temporal_iou(true, found), abs=1e-9)
    assert temporal_iou(found, found) == 1


small_interval_sets = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 8)).map(lambda pair: Stretch(pair[0], pair[0] + pair[1])),
    min_size=1,
    max_size=4,
)


@given(small_interval_sets, small_interval_sets)
def test_mean_interval_iou_is_that_of_the_best_matching(found, true):
    share = mean_interval_iou(found, true)
    assert 0 <= share <= 1
    assert share == pytest.approx(mean_interval_iou(true, found))
    assert share >= best_of_all_matchings(found, true) - 1e-9
    assert mean_interval_iou(found, found) == 1
