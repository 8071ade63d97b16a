"""What the tests of all areas share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from s3fs import S3FileSystem

from support.objects import Bucket, bucket


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[Bucket]:
    with bucket() as made:
        yield made


@pytest.fixture
def s3(_s3_server: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An S3 server of this process that the usual AWS clients find, whichever test asks first.

    s3fs keeps its clients by account and not by address: they would ask the server of an earlier
    test, which is gone.
    """
    S3FileSystem.clear_instance_cache()
    for name, value in _s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return _s3_server
