"""What the tests of all areas share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.objects import Bucket, bucket


@pytest.fixture(scope="session")
def _s3_server() -> Iterator[Bucket]:
    with bucket() as made:
        yield made


@pytest.fixture
def s3(_s3_server: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An S3 server of this process that the usual AWS clients find, whichever test asks first.

    One for all: s3fs keeps its clients, which would still ask the server of an earlier test.
    """
    for name, value in _s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return _s3_server
