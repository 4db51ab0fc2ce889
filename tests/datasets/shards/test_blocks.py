import pickle

import pytest
from shard_server import BUSY, DROP, ERROR, MISSING, WELL, WHOLE, serving

from kinema.core.errors import DataError, UsageError
from kinema.datasets.shards import blocks
from kinema.datasets.shards.blocks import BlockReader, Retry

CONTENT = bytes(range(256)) * 1200  # 300 KiB
FAST = Retry(attempts=3, first_wait_seconds=0.001)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.tar").write_bytes(CONTENT)
    return tmp_path


@pytest.fixture
def server(folder):
    with serving(folder) as running:
        yield running


@pytest.fixture
def blocks_of_64_kib(monkeypatch):
    monkeypatch.setattr(blocks, "_BLOCK_BYTES", 2**16)
    monkeypatch.setattr(blocks, "_SMALLEST_BLOCK_BYTES", 2**10)


def addresses(folder, server):
    return str(folder), folder.as_uri(), server.url, server.url + "/"


@pytest.mark.usefixtures("blocks_of_64_kib")
def test_any_range_from_any_place(folder, server):
    for address in addresses(folder, server):
        reader = BlockReader(address, FAST)
        for first, last in ((0, 10), (5, 5), (100, 70_000), (0, len(CONTENT)), (len(CONTENT) - 1, len(CONTENT))):
            assert reader.read("a.tar", first, last) == CONTENT[first:last]
        assert reader.read_whole("a.tar") == CONTENT


def test_a_reader_goes_to_another_process(folder):
    reader = BlockReader(folder.as_uri(), FAST)
    reader.read("a.tar", 0, 1)
    assert pickle.loads(pickle.dumps(reader)).read("a.tar", 3, 9) == CONTENT[3:9]


@pytest.mark.usefixtures("blocks_of_64_kib")
def test_failures_in_between_are_tried_again_where_they_happened(server):
    kinds = {2: ERROR, 3: DROP, 6: BUSY, 7: ERROR}
    server.behave = lambda number, _name: kinds.get(number, WELL)
    assert BlockReader(server.url, FAST).read("a.tar", 0, len(CONTENT)) == CONTENT
    good = [(first, last) for number, (_, first, last) in enumerate(server.ranges) if number not in kinds]
    assert [first for first, _ in good] == [0, *(last + 1 for _, last in good[:-1])]  # no byte was sent twice
    first, half, quarter = (server.ranges[number] for number in (2, 3, 4))
    assert (first[1], half[1], quarter[1]) == (2**17,) * 3
    assert [last - start + 1 for _, start, last in (first, half, quarter)] == [2**16, 2**15, 2**14]


def test_a_whole_file_is_tried_again(server):
    server.behave = lambda number, _name: {0: ERROR, 1: DROP}.get(number, WELL)
    assert BlockReader(server.url, FAST).read_whole("a.tar") == CONTENT
    assert len(server.ranges) == 3


@pytest.mark.parametrize("kind", [ERROR, DROP, BUSY])
def test_after_all_tries_the_url_and_the_reason_are_told(server, kind):
    server.behave = lambda _number, _name: kind
    with pytest.raises(DataError) as caught:
        BlockReader(server.url, FAST).read("a.tar", 0, 1000)
    assert f"cannot read {server.url}/a.tar, after 3 tries in a row: " in str(caught.value)
    assert caught.value.given.partition("row: ")[2].strip()
    assert len(server.ranges) == 3


def test_waits_double_up_to_the_longest(monkeypatch, server):
    waits = []
    monkeypatch.setattr(blocks.time, "sleep", waits.append)
    server.behave = lambda _number, _name: ERROR
    with pytest.raises(DataError):
        BlockReader(server.url, Retry(5, first_wait_seconds=1.0, longest_wait_seconds=3.0)).read("a.tar", 0, 10)
    assert waits == [1.0, 2.0, 3.0, 3.0]


def test_what_is_not_there_is_told_at_once(folder, server):
    for address in (str(folder), folder.as_uri(), server.url):
        with pytest.raises(DataError, match=r"cannot read .*/b\.tar: "):
            BlockReader(address, FAST).read("b.tar", 0, 10)
        with pytest.raises(DataError, match=r"cannot read .*/b\.tar: "):
            BlockReader(address, FAST).read_whole("b.tar")
    assert len(server.ranges) == 2
    server.behave = lambda _number, _name: MISSING
    with pytest.raises(DataError, match=r"a\.tar: "):
        BlockReader(server.url, FAST).read("a.tar", 0, 10)
    assert len(server.ranges) == 3


def test_nobody_listens():
    with pytest.raises(DataError, match=r"127\.0\.0\.1:9/a\.tar, after 3 tries in a row"):
        BlockReader("http://127.0.0.1:9", FAST).read("a.tar", 0, 10)


def test_a_file_that_ends_early(folder, server):
    for address in (str(folder), folder.as_uri(), server.url):
        with pytest.raises(DataError, match=r"cannot read .*a\.tar"):
            BlockReader(address, FAST).read("a.tar", len(CONTENT) - 5, len(CONTENT) + 5)


def test_a_server_that_knows_no_ranges(server):
    server.behave = lambda _number, _name: WHOLE
    with pytest.raises(DataError, match="was sent whole where 10 bytes of it were asked for"):
        BlockReader(server.url, FAST).read("a.tar", 5, 15)
    assert len(server.ranges) == 1


def test_a_url_of_no_known_kind():
    with pytest.raises(UsageError, match="nosuch"):
        BlockReader("nosuch://place", FAST).read("a.tar", 0, 1)


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"first_wait_seconds": -1}, {"longest_wait_seconds": -1}], ids=str)
def test_no_retry_of_that_kind(wrong):
    with pytest.raises(UsageError, match="one attempt or more"):
        Retry(**wrong)
