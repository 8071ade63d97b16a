"""A hub of checkpoints over HTTP, as Hugging Face's answers, for folders of this machine."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Checkpoints by id.

    Attributes:
        url: for HF_ENDPOINT.
        gated: ids that are read with `token` alone.
        seen: method and path of every request.
        cut_after: bytes of a file after which the connection breaks, once.
        signature: files are read from addresses signed with it, as from a CDN; empty is from here.
        refused: status that a signed address answers with, instead of the file.
        busy: status of every answer.
    """

    folders: dict[str, Path]
    token: str = ""
    gated: frozenset[str] = frozenset()
    url: str = ""
    seen: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    cut_after: int | None = None
    signature: str = ""
    refused: int = 0
    busy: int = 0


@contextmanager
def hub(made: Hub) -> Iterator[Hub]:
    """Serve it while the block runs."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(head=True)

        def do_GET(self) -> None:
            self._answer(head=False)

        def _answer(self, *, head: bool) -> None:
            path = unquote(self.path.split("?")[0])
            made.seen.append(f"{self.command} {path}")
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            made.tokens.append(token)
            parts = path.strip("/").split("/")
            if parts[0] == "cdn":
                parts = parts[1:]
            if parts[:2] == ["api", "models"]:
                parts = parts[2:]
            identity = "/".join(parts[:2])
            folder = made.folders.get(identity)
            if made.busy:
                self._refuse(made.busy, "")
            elif folder is None:
                self._refuse(404, "RepoNotFound")
            elif identity in made.gated and token != made.token:
                self._refuse(401, "GatedRepo")
            elif path.startswith("/api/models/"):
                self._info(identity, folder, parts)
            elif path.startswith("/cdn/") and made.refused:
                self._refuse(made.refused, "")
            else:
                self._file(folder / "/".join(parts[4:]), head=head)

        def _info(self, identity: str, folder: Path, parts: list[str]) -> None:
            if len(parts) > 3 and parts[2] == "tree":
                self._send(
                    [
                        {"type": "file", "path": p.name, "size": p.stat().st_size, "oid": "0"}
                        for p in sorted(folder.iterdir())
                    ]
                )
                return
            if len(parts) > 3 and parts[3] not in {"main", COMMIT}:
                self._refuse(404, "RevisionNotFound")
                return
            files = [{"rfilename": p.name} for p in sorted(folder.iterdir())]
            self._send({"id": identity, "modelId": identity, "sha": COMMIT, "siblings": files})

        def _file(self, path: Path, *, head: bool) -> None:
            if not path.is_file():
                self._refuse(404, "EntryNotFound")
                return
            content = path.read_bytes()
            start = 0
            if wanted := self.headers.get("Range"):
                start = int(wanted.removeprefix("bytes=").split("-")[0])
            away = made.signature and not self.path.startswith("/cdn/")
            self.send_response(302 if away else 206 if start else 200)
            if away:
                # Under another name, as CDNs are: what stays on one host is followed at once.
                host = f"http://localhost:{server.server_port}"
                signed = f"{host}/cdn{self.path}?Expires=1&Signature={made.signature}"
                self.send_header("Location", signed)
                self.send_header("X-Linked-Size", str(len(content)))
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            if start:
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
                )
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            if head:
                return
            body = content[start:]
            if made.cut_after is not None and len(body) > made.cut_after:
                body, made.cut_after = body[: made.cut_after], None
                self.close_connection = True
            self.wfile.write(body)

        def _refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _send(self, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """Nothing: what was asked is kept."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
