"""Class names, known and unknown."""

import pytest

from kinema.core.errors import DataError, WeightsError
from kinema.core.labels import LabelMap


def test_names_and_indices():
    labels = LabelMap.of(name for name in ("normal", "selfharm", "fall"))
    assert len(labels) == labels.count == 3
    assert labels.is_known
    assert [labels.name(index) for index in range(3)] == ["normal", "selfharm", "fall"]
    assert labels.index("fall") == 2
    assert labels.require() == ("normal", "selfharm", "fall")


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: LabelMap(0), "0 classes"),
        (lambda: LabelMap.of([]), "0 classes"),
        (lambda: LabelMap(3, ("a", "b")), "2 class names for 3 classes"),
        (lambda: LabelMap.of(["a", "b", "a"]), "given twice: a"),
    ],
)
def test_impossible_maps_are_refused(build, told):
    with pytest.raises(DataError, match=told):
        build()


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(DataError, match=r"no class named 'normall'; did you mean 'normal'\?") as caught:
        LabelMap.of(["normal", "fall"]).index("normall")
    assert caught.value.allowed == "normal, fall"


@pytest.mark.parametrize("ask", [lambda labels: labels.name(0), lambda labels: labels.index("a"), LabelMap.require])
def test_unknown_names_are_not_invented(ask):
    labels = LabelMap.unknown(4)
    assert not labels.is_known
    assert len(labels) == 4
    with pytest.raises(WeightsError, match="names of these 4 classes are unknown"):
        ask(labels)


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (LabelMap.unknown(4), "LabelMap(4 unknown)"),
        (LabelMap.of("ab"), "LabelMap(2: a, b)"),
        (LabelMap.of("abcd"), "LabelMap(4: a, b, c, …)"),
    ],
)
def test_repr_is_short(labels, text):
    assert repr(labels) == text
