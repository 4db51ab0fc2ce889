import json

import pytest

from kinema.core.errors import DataError
from kinema.core.labels import published_labels

ACTIVITIES = published_labels("activitynet200")


def taxonomy(names):
    """Two levels above the leaves, as in the published file."""
    nodes = [
        {"nodeName": "Root", "nodeId": 0, "parentName": None, "parentId": None},
        {"nodeName": "Personal Care", "nodeId": 1, "parentName": "Root", "parentId": 0},
    ]
    leaves = [{"nodeName": name, "parentName": "Personal Care", "nodeId": 2 + n, "parentId": 1} for n, name in names]
    return [*leaves, *nodes]


def annotation(label, start, end):
    return {"label": label, "segment": [start, end]}


DATABASE = {
    "QOlSCBRmfWY": {
        "subset": "training",
        "duration": 2.0,
        "annotations": [annotation("Archery", 0.25, 0.75), annotation("Ballet", 1.0, 1.9)],
    },
    "sJFgo9H6zNo": {"subset": "validation", "annotations": [annotation("Archery", 0.0, 1.5)]},
    "gone1234567": {"subset": "validation", "annotations": [annotation("Archery", 0.0, 1.5)]},
    "cccccccccc-": {"subset": "testing", "annotations": []},
    "dddddddddd_": {"subset": "training", "annotations": [annotation("Ballet", 1.0, 1.0)]},
}


@pytest.fixture
def record():
    return {"version": "VERSION 1.3", "taxonomy": taxonomy(enumerate(ACTIVITIES.names)), "database": dict(DATABASE)}


VIDEOS = ("v_QOlSCBRmfWY.mp4", "v1-3/val/v_sJFgo9H6zNo.mkv", "v_cccccccccc-.mp4", "v_dddddddddd_.webm")


def test_segments_are_samples(lay, taken, record):
    found, manifest = taken("activitynet", lay(*VIDEOS, **{"activity_net.v1-3.min.json": json.dumps(record)}))
    assert [
        (manifest.relative(one.path), one.label, one.split, one.start_seconds, one.end_seconds)
        for one in manifest.samples
    ] == [
        ("v_QOlSCBRmfWY.mp4", "Archery", "train", 0.25, 0.75),
        ("v_QOlSCBRmfWY.mp4", "Ballet", "train", 1.0, 1.9),
        ("v1-3/val/v_sJFgo9H6zNo.mkv", "Archery", "val", 0.0, 1.5),
    ]
    assert {one.name: one.reason for one in found.absent} == {
        "v_gone1234567": "not on the disk",
        "v_cccccccccc-": "its segments were not published",
        "v_dddddddddd_": "its segment is empty",
    }
    assert manifest.labels == ACTIVITIES


def test_other_versions_have_the_leaves_of_their_own_taxonomy(lay, taken, record):
    record["taxonomy"] = taxonomy(enumerate(("Ballet", "Archery")))
    _, manifest = taken("activitynet", lay(*VIDEOS, **{"v1-2.json": json.dumps(record)}))
    assert manifest.labels.names == ("Ballet", "Archery")


def test_none_or_two_lists_are_refused(lay, taken, record):
    with pytest.raises(DataError, match=r"no activity_net\.v1-3\.min\.json"):
        taken("activitynet", lay(*VIDEOS))
    with pytest.raises(DataError, match=r"0 lists of ActivityNet .* x\.json"):
        taken("activitynet", lay(**{"x.json": "{}"}))
    text = json.dumps(record)
    with pytest.raises(DataError, match="2 lists of ActivityNet"):
        taken("activitynet", lay(**{"a.json": text, "b.json": text}))


def test_a_damaged_record_is_named(lay, taken, record):
    record["database"]["sJFgo9H6zNo"] = {"subset": "validation", "annotations": [{"label": "Archery"}]}
    with pytest.raises(DataError, match="is not in the form of ActivityNet"):
        taken("activitynet", lay(*VIDEOS, **{"a.json": json.dumps(record)}))


def test_videos_without_the_prefix_and_segments_that_begin_before_them(lay, taken, record):
    record["database"] = {"QOlSCBRmfWY": {"subset": "training", "annotations": [annotation("Ballet", -0.25, 1.5)]}}
    _, manifest = taken("activitynet", lay("QOlSCBRmfWY.mp4", **{"a.json": json.dumps(record)}))
    assert [(one.start_seconds, one.end_seconds, one.group) for one in manifest.samples] == [(0.0, 1.5, None)]


def test_the_official_order_whatever_that_of_the_taxonomy(lay, taken, record):
    record["taxonomy"] = taxonomy(enumerate(reversed(ACTIVITIES.names)))
    _, manifest = taken("activitynet", lay(*VIDEOS, **{"a.json": json.dumps(record)}))
    assert manifest.labels == ACTIVITIES


def test_other_json_files_beside_it_are_none_of_its_lists(lay, taken, record):
    others = {"b.json": '{"database": {}, "labels": []}', "c.json": "[1]", "d.json": "{", "e.json": "12"}
    _, manifest = taken("activitynet", lay(*VIDEOS, **others, **{"a.json": "\ufeff" + json.dumps(record)}))
    assert len(manifest) == 3
