import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from kinema.datasets.check import check
from kinema.datasets.check_page import write_check_page
from kinema.datasets.manifest import Manifest, Sample

EVIL = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def page(scenes, tmp_path_factory):
    """The page of a data set with something of everything."""
    root = tmp_path_factory.mktemp("data")
    original = scenes.write(root / "<b>a&.mp4", scenes.frames(1, 1))
    shutil.copy(original, root / "copy.mp4")
    scenes.write(root / "again.mp4", scenes.frames(1, 1), crf=34)
    scenes.write(root / "other.mp4", scenes.frames(1, 2))
    scenes.write(root / "black.mp4", np.zeros((24, 32, 32, 3), np.uint8))
    (root / "broken.mp4").write_bytes(b"no video")
    rows = [
        Sample(root / "<b>a&.mp4", EVIL, "train", "g"),
        Sample(root / "copy.mp4", EVIL, "test", "g"),
        Sample(root / "again.mp4", "calm", "train", "h"),
        Sample(root / "other.mp4", "calm", "train", "h"),
        Sample(root / "black.mp4", "calm"),
        Sample(root / "broken.mp4", "calm"),
    ]
    write_check_page(root / "page.html", check(Manifest.of(root, rows), workers=0))
    return (root / "page.html").read_text(encoding="utf-8")


class Seen(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


def test_nothing_is_loaded_and_nothing_runs(page):
    tags = Seen(page).tags
    assert "script" not in {tag for tag, _ in tags}
    sources = [value for _, attributes in tags for name, value in attributes.items() if name in {"src", "href"}]
    assert sources
    assert all(source.startswith(("data:image/jpeg;base64,", "#")) for source in sources)
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_names_are_escaped(page):
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;a&amp;.mp4" in page


def words(page):
    return " ".join(" ".join(Seen(page).words).split())


def test_what_was_found_is_told(page):
    text = words(page)
    assert "1 of 6 videos broken, 2 pairs leak between splits" in text
    assert re.search(r"copy across splits <b>a&\.mp4", text)
    assert "near duplicate across groups" in text
    assert "100% black, 100% frozen" in text
    assert "broken.mp4 not a video" in text
    assert "4 videos, in train and test , in 2 groups" in text


def test_findings_come_before_what_is_fine(page):
    titles = re.findall(r'<h2 id="(\w+)"', page)
    assert titles == ["notes", "broken", "films", "places", "dull", "classes"]
    links = [value for tag, attributes in Seen(page).tags if tag == "a" for value in [attributes["href"][1:]]]
    assert set(links) <= set(titles)
    text = words(page)
    for told in ("1 broken", "2 pairs of one film in two splits", "1 place in several splits"):
        assert told in text


def test_only_one_film_is_told_by_pairs(page):
    """What shares no more than a place is told by place, however many pairs of it there are."""
    assert "<b>same background" not in page
    assert page.count('<div class="pair') == 3


def test_pictures_and_tables_speak_to_those_who_do_not_see_them(page):
    for tag, attributes in Seen(page).tags:
        if tag == "img":
            assert attributes["alt"]
        if tag == "th":
            assert attributes["scope"] in {"col", "row"}
    assert not re.search(r"<th[^>]*></th>", page)


def test_places_in_several_splits_come_first_and_show_each_side(scenes, tmp_path):
    rows = []
    for place, splits in ((1, ["train"] * 4), (2, ["train"] * 9 + ["test"])):
        film = scenes.write(tmp_path / f"{place}.mp4", scenes.frames(place, 1))
        for number, split in enumerate(splits):
            shutil.copy(film, tmp_path / f"{place}-{number}.mp4")
            rows.append(Sample(tmp_path / f"{place}-{number}.mp4", "x", split))
    write_check_page(tmp_path / "page.html", check(Manifest.of(tmp_path, rows), workers=0))
    text = words((tmp_path / "page.html").read_text(encoding="utf-8"))
    places = text[text.index("Places with several videos") :]
    assert places.index("10 videos, in train and test") < places.index("4 videos")
    assert "2-9.mp4" in places
    assert "and 2 more" in places


def test_a_tidy_data_set_has_a_short_page(clip, tmp_path):
    shutil.copy(clip, tmp_path / "a.mp4")
    report = check(Manifest.of(tmp_path, [Sample(tmp_path / "a.mp4", "x", None, "g")]), workers=0)
    write_check_page(tmp_path / "page.html", report)
    text = (tmp_path / "page.html").read_text()
    assert "The video decodes" in text
    assert "<img" not in text
    assert re.findall(r'<h2 id="(\w+)"', text) == ["classes"]
