"""Shards in a bucket, behind a server that speaks as S3 does."""

import pytest

from kinema.core.errors import DataError
from kinema.datasets.shards.blocks import Retry
from kinema.datasets.shards.index import read_index
from kinema.datasets.shards.read import ShardStream

pytestmark = [
    pytest.mark.slow,  # loads the libraries of S3 and a server of it
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of botocore and moto, which use what Python deprecates
]


@pytest.fixture
def bucket(packed, monkeypatch):
    """The URL of a bucket that holds `packed`."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    system = s3fs.S3FileSystem()
    system.mkdir("shards")
    system.put(packed.address, "shards/packed", recursive=True)
    yield "s3://shards/packed"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_shards_in_a_bucket(bucket, packed):
    own = [sample.video for sample in ShardStream(packed, "train", seed=2)]
    index = read_index(bucket)
    assert [sample.video for sample in ShardStream(index, "train", seed=2)] == own
    with pytest.raises(DataError, match=r"cannot read s3://shards/nowhere/index\.json: "):
        read_index("s3://shards/nowhere", retry=Retry(2, 0.001))
