from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from kinema.core.errors import MediaError, UsageError
from kinema.video.handle import Handle, Keyframe, _after


def test_a_closed_handle_refuses_instead_of_reading_freed_memory(made_video):
    with Handle(made_video("b_frames.mp4")) as handle:
        pass
    handle.close()
    for use in (
        lambda: handle.container,
        lambda: handle.stream,
        handle.rewind,
        lambda: list(handle.packets(pytest.fail)),
    ):
        with pytest.raises(UsageError, match="closed"):
            use()


def test_a_playlist_on_disk_does_not_reach_for_the_network(tmp_path):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0)
        playlist = tmp_path / "list.m3u8"
        part = f"http://127.0.0.1:{server.getsockname()[1]}/part.ts"
        playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{part}\n#EXT-X-ENDLIST\n")
        with pytest.raises(MediaError):
            Handle(playlist)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_colon_in_a_name_is_no_protocol(made_video, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("http:clip.mp4").write_bytes(made_video("b_frames.mp4").read_bytes())
    with Handle("http:clip.mp4") as handle:
        assert next(handle.packets(pytest.fail)).is_keyframe


def test_giving_up_a_seek_that_went_too_far_reads_no_further():
    def packet(pts: int, dts: int | None, *, key: bool) -> SimpleNamespace:
        return SimpleNamespace(pts=pts, dts=dts, is_keyframe=key)

    wanted = Keyframe(20, 18)
    late = iter([packet(16, 17, key=False), packet(30, 28, key=True), packet(24, 29, key=False)])
    assert _after(late, wanted, strictly=True) is None
    assert next(late).pts == 24
    early = iter(
        [packet(10, 8, key=True), packet(20, 18, key=False), packet(20, 18, key=True), packet(24, 19, key=False)]
    )
    found = _after(early, wanted, strictly=True)
    assert found is not None
    assert [(each.pts, each.is_keyframe) for each in found] == [(20, True), (24, False)]


@pytest.mark.parametrize("name", ["b_frames.mp4", "open_gop.ts", "open_gop.mkv", "fragmented.mp4"])
def test_packets_start_at_the_keyframe_asked_for(made_video, name, monkeypatch):
    with Handle(made_video(name)) as handle:
        keys = [
            Keyframe(packet.pts, packet.pts if packet.dts is None else packet.dts)
            for packet in handle.packets(pytest.fail)
            if packet.is_keyframe and packet.pts is not None
        ]
        assert len(keys) >= 4
        monkeypatch.setattr(Handle, "rewind", lambda _: pytest.fail("read from the start instead of seeking"))
        for key in [keys[2], keys[-1], keys[1]]:
            first = next(handle.packets_from(key, pytest.fail))
            assert (first.pts, first.is_keyframe) == (key.pts, True)


@pytest.mark.parametrize("name", ["mpeg2.mpg", "loop.gif"])
def test_where_no_seek_works_the_keyframe_is_found_from_the_start(made_video, name):
    with Handle(made_video(name)) as handle:
        keys = [packet for packet in handle.packets(pytest.fail) if packet.is_keyframe and packet.size] * 3
        key = Keyframe(keys[2].pts, keys[2].dts or keys[2].pts)
        assert next(handle.packets_from(key, pytest.fail)).pts == key.pts


def test_other_streams_are_not_read(made_video):
    with Handle(made_video("b_frames.mp4")) as handle:
        assert {packet.stream_index for packet in handle.packets(pytest.fail)} == {handle.stream.index}


def test_a_title_in_another_encoding_does_no_harm(encode, scene, tmp_path):
    path = encode(tmp_path / "titled.mkv", scene(3), metadata={"title": "TITLE"})
    path.write_bytes(path.read_bytes().replace(b"TITLE", "제목!".encode("cp949")))
    with Handle(path) as handle:
        assert len([packet for packet in handle.packets(pytest.fail) if packet.size]) == 3


def test_packets_are_kept_where_they_are_few(made_video, monkeypatch):
    with Handle(made_video("b_frames.mp4")) as handle:
        all_of_them = [(packet.pts, packet.size) for packet in handle.packets(pytest.fail, keep=True)]
        assert len(all_of_them) == 49  # the last one is empty
        monkeypatch.setattr(Handle, "rewind", lambda _: pytest.fail("opens the file again"))
        monkeypatch.setattr(Handle, "_sought", lambda *_: pytest.fail("seeks"))
        assert [(each.pts, each.size) for each in handle.packets_from(None, pytest.fail)] == all_of_them
        key = next(packet for packet in handle.packets_from(None, pytest.fail) if packet.is_keyframe and packet.pts > 0)
        behind = handle.packets_from(Keyframe(key.pts, key.dts), pytest.fail)
        assert [(each.pts, each.size) for each in behind] == all_of_them[all_of_them.index((key.pts, key.size)) :]


@pytest.mark.parametrize("why", ["too many", "not asked for", "broken off"])
def test_packets_are_not_kept_otherwise(made_video, monkeypatch, why):
    if why == "too many":
        monkeypatch.setattr("kinema.video.handle._KEPT_BYTES", 3000)
    with Handle(made_video("b_frames.mp4")) as handle:
        packets = handle.packets(pytest.fail, keep=why != "not asked for")
        for _ in zip(range(20), packets, strict=False) if why == "broken off" else packets:
            pass
        packets.close()
        opened = []
        monkeypatch.setattr(Handle, "rewind", lambda _: opened.append(1))
        handle.packets_from(None, pytest.fail)
        assert opened


def test_a_used_decoder_is_replaced_before_all_is_decoded_again(made_video):
    with Handle(made_video("b_frames.mp4")) as handle:
        for _ in handle.packets(pytest.fail, keep=True):
            pass
        assert handle.is_untouched
        times = [next(handle.pictures(pytest.fail, handle.packets_from(None, pytest.fail))).pts]
        assert not handle.is_untouched
        times.append(next(handle.pictures(pytest.fail, handle.packets_from(None, pytest.fail))).pts)
        assert times == [0, 0]
    assert not handle.is_untouched


def test_a_used_decoder_is_emptied_before_kept_packets_come_again(made_video):
    with Handle(made_video("b_frames.mp4")) as handle:
        keys = [
            Keyframe(packet.pts, packet.dts)
            for packet in handle.packets(pytest.fail, keep=True)
            if packet.size and packet.is_keyframe
        ]
        for key in (keys[2], keys[1], keys[2]):
            assert next(handle.pictures(pytest.fail, handle.packets_from(key, pytest.fail))).pts == key.pts
