from __future__ import annotations

import pytest

from kinema.core.errors import MediaError, UsageError
from kinema.video.handle import Handle, Keyframe


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
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/part.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(MediaError):
        Handle(playlist)


@pytest.mark.parametrize("name", ["b_frames.mp4", "open_gop.ts", "open_gop.mkv", "mpeg2.mpg", "fragmented.mp4"])
def test_packets_start_at_the_keyframe_asked_for(made_video, name):
    with Handle(made_video(name)) as handle:
        keys = [
            Keyframe(packet.pts, packet.pts if packet.dts is None else packet.dts)
            for packet in handle.packets(pytest.fail)
            if packet.is_keyframe and packet.pts is not None
        ]
        assert len(keys) >= 4
        for key in [keys[2], keys[-1], keys[0], keys[1]]:
            first = next(handle.packets_from(key, pytest.fail))
            assert (first.pts, first.is_keyframe) == (key.pts, True)


def test_where_no_seek_works_the_keyframe_is_found_from_the_start(made_video, monkeypatch):
    with Handle(made_video("b_frames.mp4")) as handle:
        keys = [packet for packet in handle.packets(pytest.fail) if packet.is_keyframe and packet.size]
        monkeypatch.setattr(Handle, "_sought", lambda *_: None)
        key = Keyframe(keys[2].pts, keys[2].dts)
        assert next(handle.packets_from(key, pytest.fail)).pts == key.pts


def test_other_streams_are_not_read(made_video):
    with Handle(made_video("b_frames.mp4")) as handle:
        assert {packet.stream_index for packet in handle.packets(pytest.fail)} == {handle.stream.index}


def test_a_title_in_another_encoding_does_no_harm(encode, scene, tmp_path):
    path = encode(tmp_path / "titled.mkv", scene(3), metadata={"title": "TITLE"})
    path.write_bytes(path.read_bytes().replace(b"TITLE", "제목!".encode("cp949")))
    with Handle(path) as handle:
        assert len([packet for packet in handle.packets(pytest.fail) if packet.size]) == 3
