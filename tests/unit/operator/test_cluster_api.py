"""The API client against a server that misbehaves as it is told."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import pytest
from kubernetes import client

from data_miner.errors import SpecError
from data_miner_operator.api import (
    CRON_JOBS,
    JOBS,
    PROJECTS,
    AlreadyExists,
    ApiError,
    Away,
    Conflict,
    Forbidden,
    NotFound,
    Throttled,
)
from data_miner_operator.cluster_api import ClusterApi, authorization, load_configuration

T = TypeVar("T")


@dataclass
class Answer:
    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    """Close the connection in the middle of the answer."""


class Server:
    """Gives the answers that it was told to, in order, then the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [Answer()]
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _do(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                heard = {name.lower(): value for name, value in self.headers.items()}
                outer.asked.append((self.command, self.path, heard, body))
                answer = outer.answers[0]
                if len(outer.answers) > 1:
                    outer.answers.pop(0)
                data = json.dumps(answer.body).encode()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data) + 10 * answer.cut))
                self.end_headers()
                self.wfile.write(data)
                self.close_connection = answer.cut

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.configuration = client.Configuration()
        self.configuration.host = f"http://127.0.0.1:{self.http.server_address[1]}"

    def say(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked.clear()


def _no(status: int, reason: str, message: str = "no", **headers: str) -> Answer:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"kind": "Status", "reason": reason, "message": message}, given)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def _ask(server: Server, question: Callable[[ClusterApi], Awaitable[T]], *, attempts: int = 3) -> T:
    async def within() -> T:
        api = ClusterApi(server.configuration, timeout_seconds=5, attempts=attempts)
        try:
            return await question(api)
        finally:
            api.close()

    return asyncio.run(within())


def test_a_list_is_read_in_pages(server: Server) -> None:
    server.say(
        Answer(body={"items": [{"n": 1}], "metadata": {"continue": "next"}}),
        Answer(body={"items": [{"n": 2}], "metadata": {}}),
    )

    found = _ask(server, lambda api: api.list(PROJECTS, None, labels="a=b"))

    assert found == [{"n": 1}, {"n": 2}]
    first, second = (path for _, path, _, _ in server.asked)
    assert first == "/apis/data-miner.io/v1alpha1/miningprojects?limit=500&labelSelector=a%3Db"
    assert second.endswith("&continue=next")


def test_a_list_whose_pages_are_too_old_begins_again(server: Server) -> None:
    server.say(
        Answer(body={"items": [{"n": 1}], "metadata": {"continue": "old"}}),
        _no(410, "Expired"),
        Answer(body={"items": [{"n": 3}], "metadata": {}}),
    )

    assert _ask(server, lambda api: api.list(PROJECTS, "team")) == [{"n": 3}]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_bad_moment_of_the_server_is_passed_over(server: Server, status: int) -> None:
    server.say(_no(status, "Busy", Retry_After="0"), Answer(body={"n": 1}))

    assert _ask(server, lambda api: api.get(PROJECTS, "team", "demo")) == {"n": 1}
    assert len(server.asked) == 2


def test_an_answer_that_breaks_off_is_asked_for_again(server: Server) -> None:
    server.say(Answer(body={"n": 1}, cut=True), Answer(body={"n": 2}))

    assert _ask(server, lambda api: api.get(PROJECTS, "team", "demo")) == {"n": 2}


def test_attempts_are_bounded_and_the_error_says_how_long_to_wait(server: Server) -> None:
    server.say(_no(429, "TooManyRequests", Retry_After="0.2"))

    with pytest.raises(Throttled) as caught:
        _ask(server, lambda api: api.list(PROJECTS, None))

    assert caught.value.retry_after == 0.2
    assert len(server.asked) == 3


def test_what_the_server_wants_to_hear_later_nobody_asks_earlier(server: Server) -> None:
    """Also not who comes anew after the attempts of another; other things may be asked."""
    server.say(_no(429, "TooManyRequests", Retry_After="0.3"), Answer(body={"n": 1}))

    async def question(api: ClusterApi) -> float:
        with pytest.raises(Throttled):
            await api.get(PROJECTS, "team", "demo")
        began = time.monotonic()
        await api.get(PROJECTS, "team", "other")
        await api.get(PROJECTS, "team", "demo")
        return time.monotonic() - began

    assert _ask(server, question, attempts=1) >= 0.25
    paths = [path.rpartition("/")[2] for _, path, _, _ in server.asked]
    assert paths == ["demo", "other", "demo"]


def test_a_server_that_wants_to_be_left_alone_for_long_keeps_nobody_waiting(
    server: Server,
) -> None:
    """The error comes at once and says how long; the server is not asked again for it."""
    server.say(_no(429, "TooManyRequests", Retry_After="3600"))

    async def question(api: ClusterApi) -> None:
        for _ in range(2):
            with pytest.raises(Throttled) as caught:
                await api.get(PROJECTS, "team", "demo")
            assert 3500 < caught.value.retry_after <= 3600

    _ask(server, question)
    assert len(server.asked) == 1


def test_who_leads_no_more_reads_and_writes_nothing(server: Server) -> None:
    leads = True

    async def scene() -> None:
        nonlocal leads
        api = ClusterApi(server.configuration, may_write=lambda: leads)
        try:
            await api.apply(PROJECTS, "team", "demo", {})
            leads = False
            for write in (
                api.apply(PROJECTS, "team", "demo", {}),
                api.create(JOBS, "own", {}),
                api.delete(PROJECTS, "team", "demo", uid=None),
            ):
                with pytest.raises(Away, match="leads no more"):
                    await write
            await api.get(PROJECTS, "team", "demo")
        finally:
            api.close()

    asyncio.run(scene())
    assert [method for method, *_ in server.asked] == ["PATCH", "GET"]


def test_what_may_have_been_made_is_not_made_again(server: Server) -> None:
    server.say(_no(503, "ServiceUnavailable"))
    with pytest.raises(Away):
        _ask(server, lambda api: api.create(JOBS, "own", {}))
    assert len(server.asked) == 1

    server.say(_no(429, "TooManyRequests", Retry_After="0"), Answer(201, {"n": 1}))
    assert _ask(server, lambda api: api.create(JOBS, "own", {})) == {"n": 1}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (_no(401, "Unauthorized"), Forbidden),
        (_no(403, "Forbidden"), Forbidden),
        (_no(404, "NotFound"), NotFound),
        (_no(409, "Conflict"), Conflict),
        (_no(409, "AlreadyExists"), AlreadyExists),
        (_no(422, "Invalid"), ApiError),
    ],
)
def test_a_refusal_has_its_kind_and_is_not_repeated(
    server: Server, answer: Answer, kind: type[ApiError]
) -> None:
    server.say(answer)

    with pytest.raises(kind) as caught:
        _ask(server, lambda api: api.replace(JOBS, "own", "a", {}))

    assert type(caught.value) is kind
    assert len(server.asked) == 1


def test_a_message_is_one_harmless_line(server: Server) -> None:
    server.say(_no(422, "Invalid", "bad\n\x1b[31mred token=abcdef " + "x" * 5000))

    with pytest.raises(ApiError) as caught:
        _ask(server, lambda api: api.create(JOBS, "own", {}))

    message = str(caught.value)
    assert "\n" not in message
    assert "\x1b" not in message
    assert "abcdef" not in message
    assert len(message) <= 500


def test_a_server_that_is_not_there_is_away(server: Server) -> None:
    server.http.shutdown()
    server.http.server_close()

    with pytest.raises(Away, match="cannot be reached"):
        _ask(server, lambda api: api.get(PROJECTS, "team", "demo"), attempts=2)


def test_what_is_not_there_is_none_and_deleting_it_is_false(server: Server) -> None:
    server.say(_no(404, "NotFound"))

    assert _ask(server, lambda api: api.get(PROJECTS, "team", "demo")) is None
    assert _ask(server, lambda api: api.delete(PROJECTS, "team", "demo", uid=None)) is False


def test_a_delete_names_the_very_object(server: Server) -> None:
    _ask(server, lambda api: api.delete(PROJECTS, "team", "demo", uid="u1", version="7"))

    ((method, _, _, body),) = server.asked
    assert method == "DELETE"
    assert body["preconditions"] == {"uid": "u1", "resourceVersion": "7"}
    assert body["propagationPolicy"] == "Background"


def test_an_apply_is_server_side_with_our_field_manager(server: Server) -> None:
    _ask(server, lambda api: api.apply(PROJECTS, "team", "demo", {"a": 1}, subresource="status"))

    ((method, path, headers, body),) = server.asked
    assert method == "PATCH"
    assert path.endswith("/demo/status?fieldManager=data-miner-operator&force=true")
    assert headers["content-type"] == "application/apply-patch+yaml"
    assert body == {"a": 1}


def test_a_rotated_token_is_used_from_then_on(server: Server) -> None:
    tokens = iter(["bearer one", "bearer two"])

    def refresh(configuration: client.Configuration) -> None:
        configuration.api_key["BearerToken"] = next(tokens, "bearer two")

    server.configuration.api_key["BearerToken"] = "bearer zero"
    server.configuration.refresh_api_key_hook = refresh  # type: ignore[assignment]

    async def twice(api: ClusterApi) -> None:
        await api.list(CRON_JOBS, "own")
        await api.list(CRON_JOBS, "own")

    _ask(server, twice)
    assert [headers["authorization"] for _, _, headers, _ in server.asked] == [
        "bearer one",
        "bearer two",
    ]


def test_no_account_is_no_header() -> None:
    assert authorization(client.Configuration()) is None


def test_no_cluster_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nothing"))
    monkeypatch.setattr(
        "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "nothing")
    )

    with pytest.raises(SpecError, match="no Kubernetes cluster"):
        load_configuration()
