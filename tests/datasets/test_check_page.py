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
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_names_are_escaped(page):
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;a&amp;.mp4" in page


def test_what_was_found_is_told(page):
    text = " ".join(" ".join(Seen(page).words).split())
    assert "1 of 6 videos broken, 2 in two splits" in text
    assert re.search(r"copy across splits <b>a&\.mp4", text)
    assert "near duplicate across groups" in text
    assert "same background" in text
    assert "100% black, 100% frozen" in text
    assert "broken.mp4 not a video" in text
    assert "4 videos" in text


def test_a_tidy_data_set_has_a_short_page(clip, tmp_path):
    shutil.copy(clip, tmp_path / "a.mp4")
    report = check(Manifest.of(tmp_path, [Sample(tmp_path / "a.mp4", "x", None, "g")]), workers=0)
    write_check_page(tmp_path / "page.html", report)
    text = (tmp_path / "page.html").read_text()
    assert "All 1 videos decode" in text
    assert "<img" not in text
    assert not {'id="alike"', 'id="broken"', 'id="dull"', 'id="places"', 'id="notes"'} & set(
        re.findall(r'id="\w+"', text)
    )
