"""A store that answers as S3 does, on this machine: moto's server; and a web server."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Example

BUCKET = "bpr-tests"


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of moto's server."""
    server = pytest.importorskip("moto.server", reason="pip install 'moto[server]' s3fs")
    pytest.importorskip("s3fs", reason="pip install 'moto[server]' s3fs")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def s3(s3_endpoint: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> S3:
    """An empty bucket, and an environment in which it is found."""
    import s3fs

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret-8c1f")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("BPR_CACHE", str(tmp_path_factory.mktemp("cache")))
    s3fs.S3FileSystem.clear_instance_cache()  # it keeps the endpoint with which it was opened
    store = S3(s3_endpoint)
    store.clear()
    return store


class S3:
    """The bucket, asked by boto3: another way than the one that is tested."""

    def __init__(self, endpoint: str) -> None:
        import boto3

        self.client = boto3.client("s3", endpoint_url=endpoint)
        self.client.create_bucket(Bucket=BUCKET)

    def clear(self) -> None:
        for name in self.names():
            self.client.delete_object(Bucket=BUCKET, Key=name)

    def names(self) -> list[str]:
        return [item["Key"] for item in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]

    def put(self, path: Path, name: str) -> str:
        """Put a file there; its address."""
        self.client.put_object(Bucket=BUCKET, Key=name, Body=path.read_bytes())
        return f"s3://{BUCKET}/{name}"

    def get(self, name: str) -> bytes:
        return bytes(self.client.get_object(Bucket=BUCKET, Key=name)["Body"].read())

    def put_example(self, example: Example) -> None:
        """Results, ground truth and photos of an example."""
        import json

        self.put(example.results, "results.json")
        self.put(example.gt, "gt.json")
        for image in json.loads(example.gt.read_text())["images"]:
            self.put(example.images / image["file_name"], f"photos/{image['file_name']}")


@pytest.fixture
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a web server, and the folder that it shows."""
    folder = tmp_path_factory.mktemp("web")
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", folder
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass
