"""An S3 server on this machine: moto's, over real HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

NAME = "bucket"


@dataclass(frozen=True)
class Bucket:
    """A bucket, and what a process needs to reach it."""

    endpoint: str
    client: Any

    @property
    def uri(self) -> str:
        """``s3://…`` of the bucket."""
        return f"s3://{NAME}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the usual AWS clients."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def keys(self, prefix: str) -> list[str]:
        """Keys below a prefix."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=NAME, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]


@contextlib.contextmanager
def bucket(port: int = 0) -> Iterator[Bucket]:
    """Start a server with one empty bucket; port 0 picks a free one."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="us-east-1",
        )
        client.create_bucket(Bucket=NAME)
        yield Bucket(endpoint, client)
    finally:
        server.stop()
