import csv
import os

import pytest

from kinema.core.errors import DataError
from kinema.datasets.sample import Sample
from kinema.datasets.table import read_table, write_table

VIDEOS = ("fight/a.mp4", "fight/b.mp4", "calm/c.mp4", "calm/d.mp4")


@pytest.fixture
def write(place):
    def make(content):
        source = place(*VIDEOS) / "clips.csv"
        source.write_bytes(content if isinstance(content, bytes) else content.encode())
        return source

    return make


def read(source, *, allow_absolute=False):
    return read_table(source, allow_absolute=allow_absolute)


PLAIN = "path,label\nfight/a.mp4,fight\ncalm/c.mp4,calm\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.encode("utf-8-sig"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.rstrip("\n"),
        PLAIN.replace(",", " , "),
        PLAIN.replace("\n", "\n\n") + ",\n",
        'label,path\n"fight","fight/a.mp4"\ncalm,./calm/c.mp4\n',
        PLAIN.replace("/", "\\"),
    ],
    ids=["plain", "bom", "windows", "no last line end", "blanks", "empty rows", "other order", "backslashes"],
)
def test_one_table_in_many_writings(write, content):
    source = write(content)
    root = source.parent
    assert read(source) == [Sample(root / "fight/a.mp4", "fight"), Sample(root / "calm/c.mp4", "calm")]


def test_all_columns(write):
    source = write(
        "end_seconds,group,split,label,path,start_seconds\n"
        "2.5,street 3,Training,fight,fight/a.mp4,1\n,street 3,train,fight,fight/a.mp4,2.5\n,,valid,calm,calm/c.mp4,\n"
    )
    root = source.parent
    assert read(source) == [
        Sample(root / "fight/a.mp4", "fight", "train", "street 3", 1.0, 2.5),
        Sample(root / "fight/a.mp4", "fight", "train", "street 3", 2.5, None),
        Sample(root / "calm/c.mp4", "calm", "val", None, None, None),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("path,label\n", "a header and no row"),
        ("path,lable\nfight/a.mp4,fight\n", "unknown column 'lable'; did you mean 'label'"),
        ("Path,label\nfight/a.mp4,fight\n", "unknown column 'Path'; did you mean 'path'"),
        ("path;label\nfight/a.mp4;fight\n", "unknown column 'path;label'"),
        ("fight/a.mp4,fight\n", "unknown column 'fight/a.mp4'"),
        ("path,group\nfight/a.mp4,s1\n", "no column 'label', only path, group"),
        ("label,split\nfight,train\n", "no column 'path'"),
        ("path,label,path\na,b,c\n", "column 'path' twice"),
        (PLAIN + '3.mp4,"b\n4.mp4,a\n', r"unexpected end of data \(line 4\)"),
        (PLAIN + '3.mp4,"b\n4.mp4,a\n5.mp4,"c"\n', r"no CSV file: .* \(line 4\)"),
        ('path,label\n3.mp4,"b\n4.mp4,"\n5.mp4,c\n', r"a cell of more than one line \(line 2\)"),
        (PLAIN.encode("utf-16"), "not UTF-8"),
        ("path,label\nfight/a.mp4,싸움\n".encode("cp949"), "not UTF-8"),
    ],
)
def test_tables_that_are_none(write, content, message):
    with pytest.raises(DataError, match=message) as caught:
        read(write(content))
    assert caught.value.allowed


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("fight/a.mp4, ,,,", "line 2: a blank label"),
        (",fight,,,", "line 2: a blank path"),
        ("fight/a.mp4,fight", "line 2: 2 cells under 5 columns"),
        ("fight/a.mp4,fight,,,,,", "line 2: 7 cells under 5 columns"),
        ("fight/a.mp4,fight,trian,,", "line 2: unknown split 'trian'; did you mean 'train'"),
        ("fight/a.mp4,fight,,one,", "line 2: start_seconds 'one' is no number"),
        ('fight/a.mp4,fight,,,"1,5"', "line 2: end_seconds '1,5' is no number"),
        ("fight/a.mp4,fight,,-1,", "line 2: start_seconds is -1"),
        ("fight/a.mp4,fight,,nan,", "line 2: start_seconds is nan"),
        ("fight/a.mp4,fight,,2,2", "line 2: end_seconds 2 is not after start_seconds 2"),
        ("fight/aa.mp4,fight,,,", "line 2: no file fight/aa.mp4; did you mean 'a.mp4'"),
        ("figth/a.mp4,fight,,,", "line 2: no file figth/a.mp4"),
        ("fight,fight,,,", "line 2: fight is a folder, but not of numbered pictures"),
        ("../outside.mp4,fight,,,", "line 2: ../outside.mp4 leads out of"),
        ("fight/../../outside.mp4,fight,,,", "line 2: fight/../../outside.mp4 leads out of"),
        ("/etc/hostname,fight,,,", "line 2: /etc/hostname leads out of"),
        ("fight/b.mp4,calm,,,", "line 3: fight/b.mp4 again, 'fight' here and 'calm' on line 2"),
        ("fight/b.mp4,calm,,0,", "line 3: fight/b.mp4 again, 'fight' here and 'calm' on line 2"),
    ],
)
def test_rows_that_cannot_be_used_are_named_by_line(write, row, message):
    source = write(f"path,label,split,start_seconds,end_seconds\n{row}\nfight/b.mp4,fight,,,\n")
    (source.parent.parent / "outside.mp4").touch()
    with pytest.raises(DataError) as caught:
        read(source)
    assert message in caught.value.given
    assert "1 of the 2 rows" in caught.value.given


def test_a_video_belongs_to_one_group(write):
    header = "path,label,group,start_seconds,end_seconds\n"
    with pytest.raises(DataError, match=r"line 3: fight/a\.mp4 in group 's2' here and 's1' on line 2"):
        read(write(header + "fight/a.mp4,fight,s1,0,1\nfight/a.mp4,fight,s2,1,2\n"))


def test_all_missing_files_are_counted_and_ten_are_listed(write):
    content = "path,label\n" + "".join(f"fight/x{number}.mp4,fight\n" for number in range(40)) + "calm/c.mp4,calm\n"
    with pytest.raises(DataError) as caught:
        read(write(content))
    assert "40 of the 41 rows" in caught.value.given
    assert caught.value.given.count("no file") == 10
    assert "... and 30 more" in caught.value.given


@pytest.mark.parametrize("given", ["../elsewhere/e.mp4", "{parent}/elsewhere/e.mp4"])
def test_other_folders_may_be_allowed(write, place, given):
    elsewhere = place("e.mp4", folder="elsewhere")
    source = write(f"path,label\n{given.format(parent=elsewhere.parent)},fight\ncalm/c.mp4,calm\n")
    assert read(source, allow_absolute=True)[0].path == elsewhere / "e.mp4"


def test_only_columns_in_use_are_written(tmp_path):
    samples = [
        Sample(tmp_path / "a.mp4", 'say "hi", twice', group="g"),
        Sample(tmp_path / "b.mp4", "x", end_seconds=0.1),
    ]
    write_table(tmp_path / "out.csv", samples, ["a.mp4", "b.mp4"])
    assert (tmp_path / "out.csv").read_text() == (
        'path,label,group,end_seconds\na.mp4,"say ""hi"", twice",g,\nb.mp4,x,,0.1\n'
    )


def test_a_failing_write_leaves_the_old_file(tmp_path):
    old = tmp_path / "out.csv"
    old.write_text("old")
    with pytest.raises(ValueError, match="zip"):
        write_table(old, [Sample(tmp_path / "a.mp4", "a")], ["a.mp4", "too many"])
    assert old.read_text() == "old"
    assert list(tmp_path.iterdir()) == [old]


# --- rows from strangers, and for their spreadsheets ---


@pytest.mark.parametrize("given", ["../b.mp4", "a/../../b.mp4", "/etc/passwd", "a/..\\..\\b.mp4"])
def test_no_name_leads_out_of_the_folder(tmp_path, given):
    (tmp_path / "b.mp4").touch()
    (tmp_path / "in").mkdir()
    source = tmp_path / "in" / "m.csv"
    source.write_text(f"path,label\n{given},x\n")
    with pytest.raises(DataError, match="leads out of"):
        read_table(source, allow_absolute=False)


def test_links_are_followed_wherever_they_lead(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "b.mp4").touch()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").symlink_to(tmp_path / "disk" / "b.mp4")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "disk")
    source = tmp_path / "in" / "m.csv"
    source.write_text("path,label\na.mp4,x\nlink/b.mp4,y\n")
    assert [sample.path.name for sample in read_table(source, allow_absolute=False)] == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [("pipe", "a pipe, a socket"), ("device", "a pipe, a socket"), ("long", "too long"), ("nul", "m.csv")],
)
def test_what_is_no_file_is_named_by_its_line(tmp_path, kind, said):
    name = {"long": "a" * 5000, "nul": "a\0b"}.get(kind, "a")
    if kind == "pipe":
        os.mkfifo(tmp_path / "a.mp4")
    if kind == "device":
        (tmp_path / "a.mp4").symlink_to("/dev/zero")
    source = tmp_path / "m.csv"
    source.write_text(f"path,label\n{name}.mp4,x\n")
    with pytest.raises(DataError, match=said) as caught:
        read_table(source, allow_absolute=False)
    assert len(str(caught.value)) < 20_000


def test_what_could_be_a_formula_is_written_as_text_and_read_as_it_was(tmp_path):
    names = ["=1+1.mp4", "-AbC.mp4", "@x.mp4", "+1.mp4", "plain.mp4", "'=x.mp4"]
    for name in names:
        (tmp_path / name).touch()
    samples = [Sample(tmp_path / name, f"=label{name}", group=f"-{name}", dataset="@d") for name in names]
    write_table(tmp_path / "m.csv", samples, names)
    cells = [cell for row in csv.reader((tmp_path / "m.csv").read_text().splitlines()) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert "plain.mp4" in cells
    assert read_table(tmp_path / "m.csv", allow_absolute=False) == samples
