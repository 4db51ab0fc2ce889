from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from kinema.core.errors import MediaError
from kinema.video import transport
from kinema.video.file import VideoFile
from kinema.video.structure import structural_damage

PACKET_BYTES, PID = 188, 256


def packets_of(path: Path) -> list[bytearray]:
    data = path.read_bytes()
    return [bytearray(data[at : at + PACKET_BYTES]) for at in range(0, len(data), PACKET_BYTES)]


def pid_of(packet: bytes) -> int:
    return (packet[1] & 0x1F) << 8 | packet[2]


@pytest.fixture
def packets(made_video) -> list[bytearray]:
    return packets_of(made_video("mpeg2.ts"))


@pytest.fixture
def video_numbers(packets) -> list[int]:
    return [number for number, packet in enumerate(packets) if pid_of(packet) == PID]


def told(folder: Path, packets: list[bytearray] | list[bytes]) -> str | None:
    path = folder / "packets.ts"
    path.write_bytes(b"".join(packets))
    return structural_damage(path, "mpegts", PID)


@pytest.mark.parametrize(("front", "behind"), [(0, 0), (4, 0), (0, 16)])  # broadcast, discs, with parity
def test_the_three_lengths_of_packets_are_whole(tmp_path, packets, front, behind):
    assert told(tmp_path, [bytes(front) + packet + bytes(behind) for packet in packets]) is None


@pytest.mark.parametrize("block_packets", [1, 2, 5, 1 << 15])
def test_a_gap_is_told_wherever_blocks_are_parted(tmp_path, packets, video_numbers, monkeypatch, block_packets):
    monkeypatch.setattr(transport, "_BLOCK_PACKETS", block_packets)
    assert told(tmp_path, packets) is None
    lost = video_numbers[len(video_numbers) // 2]
    follower = next(number for number in video_numbers if number > lost) - 1
    del packets[lost]
    assert told(tmp_path, packets) == (
        f"byte {follower * PACKET_BYTES}: packets of the video are missing or out of order"
    )


def test_a_gap_in_other_streams_does_no_harm(tmp_path, packets):
    tables = [number for number, packet in enumerate(packets) if pid_of(packet) == 0]
    del packets[tables[1]]
    assert told(tmp_path, packets) is None


def test_a_gap_that_is_announced_is_none(tmp_path, packets, video_numbers):
    lost = next(
        number for number, later in pairwise(video_numbers)
        if packets[later][3] & 0x20 and packets[later][4]
    )  # fmt: skip
    follower = video_numbers[video_numbers.index(lost) + 1]
    packets[follower][5] |= 0x80
    del packets[lost]
    assert told(tmp_path, packets) is None


def test_packets_without_content_do_not_count(tmp_path, packets, video_numbers):
    at = video_numbers[3]
    clock = bytearray(packets[at][:4]) + b"\xb7\0" + b"\xff" * 182
    clock[1] &= ~0x40
    clock[3] = 0x20 | packets[video_numbers[2]][3] & 0x0F
    assert told(tmp_path, [*packets[:at], clock, *packets[at:]]) is None


@pytest.mark.parametrize("count", [1, 3, 16])
def test_packets_overwritten_with_zeros_are_told(tmp_path, packets, count):
    for number in range(20, 20 + count):
        packets[number][:] = bytes(PACKET_BYTES)
    assert told(tmp_path, packets) == f"byte {20 * PACKET_BYTES} should begin a packet and does not"
    with VideoFile(tmp_path / "packets.ts") as video, pytest.raises(MediaError):
        list(video.frames())


def test_a_packet_that_its_sender_calls_wrong_is_told(tmp_path, packets, video_numbers):
    packets[video_numbers[5]][1] |= 0x80
    assert "missing or out of order" in told(tmp_path, packets)


def test_a_picture_that_does_not_begin_where_it_should_is_told(tmp_path, packets, video_numbers):
    packet = next(packets[number] for number in video_numbers[4:] if packets[number][1] & 0x40)
    start = 4 + (packet[4] + 1 if packet[3] & 0x20 else 0)
    assert packet[start : start + 3] == b"\0\0\1"
    packet[start + 1] = 7
    assert "missing or out of order" in told(tmp_path, packets)


def test_bytes_in_front_and_behind_are_told(tmp_path, packets):
    assert told(tmp_path, [b"x" * 40, *packets]) == "40 bytes before the first whole packet of 188"
    assert told(tmp_path, [*packets, b"x" * 40]) == "40 bytes more than whole packets of 188"
    assert told(tmp_path, [packets[0][60:], *packets[1:]]) == "128 bytes before the first whole packet of 188"


def test_bytes_that_are_no_packets_are_not_judged(tmp_path):
    assert told(tmp_path, [bytes(5000)]) is None
    assert told(tmp_path, [b"G"]) is None
