"""What a store's silence is, and what is an answer."""

from __future__ import annotations

import errno
import socket

import pytest
from aiohttp import ClientConnectionError
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from data_miner.stage import StageError
from data_miner.storage.store import any_failure, named_failures

SILENCE = [
    ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
    TimeoutError("timed out"),
    socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    OSError(errno.ESTALE, "Stale file handle"),
    OSError(errno.ENOTCONN, "Transport endpoint is not connected"),
    OSError(errno.EBUSY, "Reduce your request rate."),
    EndpointConnectionError(endpoint_url="http://store:9000"),
    ReadTimeoutError(endpoint_url="http://store:9000"),
    ClientConnectionError("Connection closed."),
]
ANSWERS = [
    PermissionError(errno.EACCES, "Access Denied"),
    OSError(errno.EINVAL, "Invalid argument"),
    ClientError({"Error": {"Code": "InvalidBucketName"}}, "PutObject"),
    ValueError("not a store"),
]


@pytest.mark.parametrize("error", SILENCE, ids=lambda e: type(e).__name__)
def test_a_store_that_does_not_answer_is_unreachable(error: Exception) -> None:
    with pytest.raises(StageError) as caught, any_failure("fetch x"):
        raise error
    assert (caught.value.error_class, caught.value.permanent) == ("store_unreachable", False)
    assert str(caught.value).startswith("fetch x: ")


@pytest.mark.parametrize("error", SILENCE[:6], ids=lambda e: type(e).__name__)
def test_a_volume_that_does_not_answer_is_unreachable(error: OSError) -> None:
    with pytest.raises(StageError) as caught, named_failures("fetch x"):
        raise error
    assert caught.value.error_class == "store_unreachable"


@pytest.mark.parametrize("error", ANSWERS, ids=lambda e: type(e).__name__)
def test_a_store_that_refuses_has_answered(error: Exception) -> None:
    with pytest.raises(StageError) as caught, any_failure("fetch x"):
        raise error
    assert caught.value.error_class == "storage"


def test_a_file_that_is_missing_is_missing_whatever_came_before() -> None:
    with pytest.raises(StageError) as caught, any_failure("fetch x", missing="input_missing"):
        raise FileNotFoundError(errno.ENOENT, "No such file") from TimeoutError()
    assert caught.value.error_class == "input_missing"


def test_an_error_made_from_a_silence_is_one() -> None:
    with pytest.raises(StageError) as caught, any_failure("fetch x"):
        raise OSError("Connect timeout on the endpoint") from TimeoutError()
    assert caught.value.error_class == "store_unreachable"
