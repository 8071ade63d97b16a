"""A project that a release mines while something is broken on purpose, and what becomes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from support.kubectl import KubectlError
from support.product import DEMO_MEDIA, DEMO_PROJECT
from support.release import Release
from support.waiting import eventually

NAME: Final = "struck"
WORKERS: Final = "app.kubernetes.io/component=worker"
LOOK_SECONDS: Final = 0.3
MIDDLE: Final = 4
"""A blow falls after so many results: the videos are found and fetched. There are 22 in the end."""
FRESH_SECONDS: Final = 2.0
"""A task that began no longer ago than this is still running when the blow falls."""
LONG_STAGES: Final = ("extract", "embed")
"""Each takes seconds for each of the three videos."""
RECOVERY_SECONDS: Final = 240.0
_FORGET: Final = """
    DELETE FROM tasks WHERE project_id = PROJECT;
    DELETE FROM artifacts a USING results r
    WHERE r.project_id = PROJECT AND a.recipe_id = r.recipe_id AND a.subject = r.subject;
    DELETE FROM results WHERE project_id = PROJECT;
"""
BRITTLE: Final[Mapping[str, Any]] = {
    # A sixth and less of what is usual: what waits for a lease waits that much shorter.
    "settings": {
        "leaseSeconds": 20,
        "heartbeatSeconds": 5,
        "rescueSeconds": 5,
        "backoffSeconds": 2,
    },
    "workers": {
        "defaults": {
            # Two workers on each node, from the start; little processor makes long tasks.
            "scaling": {"warmReplicas": 4, "maxReplicas": 4},
            "resources": {
                "requests": {"cpu": "50m", "memory": "256Mi"},
                "limits": {"cpu": "500m", "memory": "1Gi"},
            },
            "taskMemoryMb": 768,
            # Shorter than a task: a worker that is stopped hands it back.
            "graceSeconds": 2,
        }
    },
}
"""Values by which faults are found in seconds."""


def long_project(folder: Path) -> Path:
    """The demo's project, but every frame is looked at: a file in `folder`, with its clips."""
    project = yaml.safe_load(DEMO_PROJECT.read_text(encoding="utf-8"))
    project["metadata"]["name"] = NAME
    project["spec"]["sampling"]["every"] = "40ms"
    project["spec"]["deletionPolicy"] = "Delete"
    (folder / "demo").symlink_to(DEMO_MEDIA.parent)
    file = folder / f"{NAME}.yaml"
    file.write_text(yaml.safe_dump(project), encoding="utf-8")
    return file


@dataclass(frozen=True, slots=True)
class Held:
    """A task in the hands of a worker."""

    id: int
    claim_seq: int
    stage: str
    subject: str
    recipe: int
    pod: str
    results: int = field(compare=False)
    """Results of the project at that moment."""

    def __str__(self) -> str:
        return f"{self.stage} on {self.pod}"


@dataclass(slots=True)
class Mined:
    """One project in a namespace of its own, from `begin` to `end`."""

    release: Release
    namespace: str
    file: Path
    case: str
    """What the printed lines are about."""
    began: float = 0.0
    struck: float = 0.0
    """When the blow fell; before that, as `began`."""
    _results: int = field(default=0, init=False)

    def begin(self) -> None:
        """Apply the project."""
        self.release.kubectl("create", "namespace", self.namespace)
        self.began = self.struck = time.monotonic()
        self.release.apply(self.file, namespace=self.namespace)

    def end(self) -> None:
        """Delete the project with all that it made, so that the next one begins with nothing."""
        self._forget()
        self.release.kubectl("delete", "namespace", self.namespace, "--wait=false")
        # The next workers are spread over the nodes anew.
        self.release.k("delete", "pods", f"--selector={WORKERS}", "--wait=false")

    # The moment

    def in_the_middle(
        self, node: str = "", pool: str = "", stages: tuple[str, ...] = LONG_STAGES
    ) -> Held:
        """The project's work half done: a long task that has just begun, on this node or on any,
        in the hands of this pool or of any.

        There are six of them in all. Where none was seen there in time, the project begins again.
        """
        found: list[Held] = []

        def there() -> bool:
            where = self.pods_of(node, pool)
            now = self.held(stages, fresh=True)
            found[:] = [held for held in now if held.pod in where and held.results >= MIDDLE]
            if not found and self._is_complete():
                self._forget()
                self.release.apply(self.file, namespace=self.namespace)
            return bool(found)

        self._patiently(there, f"a long task runs on {node or 'a node'}")
        return found[0]

    def strike(
        self,
        blow: Callable[[Held], object],
        *,
        node: str = "",
        pool: str = "",
        stages: tuple[str, ...] = LONG_STAGES,
        kills: bool = True,
    ) -> Held:
        """Let a blow fall on a task `in_the_middle`; the one that was hit.

        `kills`: whoever runs the task dies of it. A task that ended before the blow fell is none
        that was hit; then the next one is.
        """
        for _ in range(4):
            held = self.in_the_middle(node, pool, stages)
            self._results, self.struck = held.results, time.monotonic()
            blow(held)
            if not kills or self.is_held(held):
                print(f"\n{self.case}: {held}, after {self._results} results")  # noqa: T201
                return held
        raise AssertionError(f"{self.case}: no task was hit")

    # What is seen of it

    def results(self) -> int:
        """Results of this project so far."""
        return int(self._ask("SELECT count(*) FROM results JOIN projects USING (project_id)")[0])

    def held(self, stages: tuple[str, ...] = (), *, fresh: bool = False) -> list[Held]:
        """Tasks of this project that workers hold, the newest first."""
        chosen = " AND stage IN (" + ", ".join(f"'{stage}'" for stage in stages) + ")"
        new = f" AND dataminer_now() - claimed_at < interval '{FRESH_SECONDS} s'"
        rows = self._ask(
            "SELECT t.id, claim_seq, stage, subject, recipe_id, claimed_by, (SELECT count(*)"
            " FROM results r WHERE r.project_id = t.project_id)"
            " FROM tasks t JOIN projects USING (project_id)",
            " AND state = 'running'" + (chosen if stages else "") + (new if fresh else ""),
            " ORDER BY claimed_at DESC",
        )
        return [_held(row) for row in rows]

    def is_held(self, held: Held) -> bool:
        """Whether this very claim still counts; a database that is away is asked again."""
        found: list[bool] = []

        def told() -> bool:
            with suppress(KubectlError):
                found[:] = [held in self.held()]
            return bool(found)

        self._patiently(told, "the database answers")
        return found[0]

    def pods_of(self, node: str = "", pool: str = "") -> set[str]:
        """Names of the workers' pods on a node and of a pool, where one is named."""
        return {
            pod["metadata"]["name"]
            for pod in self.release.pods("worker")
            if node in {"", pod["spec"].get("nodeName")}
            and pool in {"", pod["metadata"]["labels"]["data-miner.io/pool"]}
        }

    def evicted(self) -> set[str]:
        """Names of the release's pods that a kubelet has evicted.

        By its Events: a pod that ends by itself in the second that it gets is one that succeeded.
        """
        where = f"--namespace={self.release.namespace}"
        chosen = "--field-selector=reason=Evicted"
        events = self.release.kubectl.json("get", "events", where, chosen)["items"]
        return {str(event["involvedObject"]["name"]) for event in events}

    def last_end(self, pod: str) -> tuple[str, int]:
        """Reason and exit status of the last end of a pod's container; ("", 0) before the first."""
        where = f"--namespace={self.release.namespace}"
        found = self.release.kubectl.json("get", "pod", pod, where)
        status = found["status"]["containerStatuses"][0]
        for state in (status["state"], status["lastState"]):
            if ended := state.get("terminated"):
                return str(ended["reason"]), int(ended["exitCode"])
        return "", 0

    def mended(self, held: Held) -> None:
        """Return when somebody else works on the task that was hit, or has finished it."""

        def again() -> bool:
            rows = self._ask("SELECT claim_seq FROM tasks t JOIN projects USING (project_id)",
                             f" AND t.id = {held.id} AND"
                             f" (claim_seq = {held.claim_seq} OR state <> 'running')")  # fmt: skip
            return not rows

        self._patiently(again, f"{held} is taken up again")
        self._say("the task that was hit is taken up again")

    def goes_on(self) -> None:
        """Return when there is a result more than at the blow."""
        self._patiently(lambda: self.results() > self._results, "there is another result")
        self._say("the next result is there")

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Return when this holds; says the seconds since the blow."""
        self._patiently(condition, what)
        self._say(what)

    def complete(self, digest: str) -> None:
        """Return when the project is Complete; asserts that nothing failed, and the digest."""
        done = self.release.complete(NAME, namespace=self.namespace, seconds=RECOVERY_SECONDS)
        self._say("Complete")
        whole = time.monotonic() - self.began
        print(f"{self.case}: {whole:.0f} s from apply to Complete")  # noqa: T201
        condition = {one["type"]: one for one in done["status"]["conditions"]}["Complete"]
        assert condition["reason"] == "AllDone", condition
        assert done["status"]["dataset"]["digest"] == digest

    def attempts(self) -> dict[str, int]:
        """How often each stage was tried at most, by the results: 1 means that none failed."""
        rows = self._ask(
            "SELECT stage || ' ' || max(attempts) FROM results JOIN projects USING (project_id)",
            end=" GROUP BY stage",
        )
        return {stage: int(most) for stage, most in (row.split() for row in rows)}

    def used(self) -> int:
        """Attempts and losses that tasks which are not done yet have cost so far."""
        select = "SELECT coalesce(sum(attempt + lost_count), 0) FROM tasks"
        return int(self._ask(f"{select} JOIN projects USING (project_id)")[0])

    def workers_of(self, stage: str) -> set[str]:
        """Whose results of a stage count."""
        return set(
            self._ask(
                "SELECT DISTINCT processed_by FROM results JOIN projects USING (project_id)",
                f" AND stage = '{stage}'",
            )
        )

    def failures(self) -> list[tuple[str, str, str, str]]:
        """State, stage, class and words of each task that has gone wrong and is not done yet."""
        rows = self._ask(
            "SELECT state, stage, error_class, error FROM tasks JOIN projects USING (project_id)",
            " AND error_class IS NOT NULL",
        )
        return [(one, two, three, four) for one, two, three, four in (r.split("|") for r in rows)]

    def finished_by(self, held: Held) -> str:
        """The worker whose result of this task counts."""
        asked = f"SELECT processed_by FROM results WHERE recipe_id = {held.recipe}"
        return self.release.sql(f"{asked} AND subject = '{held.subject}'")[0]

    def _is_complete(self) -> bool:
        status = self.release.project(NAME, namespace=self.namespace).get("status", {})
        conditions = {one["type"]: one["status"] for one in status.get("conditions", ())}
        return conditions.get("Complete") == "True"

    def _forget(self) -> None:
        """Delete the project and all that it made. What a video alone decides outlives its
        projects; the next one is to do that again as well."""
        where = f"--namespace={self.namespace}"
        self.release.kubectl("delete", "mp", NAME, where, "--ignore-not-found")
        there = "SELECT project_id FROM projects"
        self._patiently(lambda: not self._ask(there, " AND deleted_at IS NULL"), "it is forgotten")
        for project in self._ask(there):
            self.release.sql(_FORGET.replace("PROJECT", project))

    def _ask(self, select: str, more: str = "", end: str = "") -> list[str]:
        mine = f" WHERE projects.namespace = '{self.namespace}' AND projects.name = '{NAME}'"
        return list(self.release.sql(f"{select}{mine}{more}{end}"))

    def _say(self, what: str) -> None:
        print(f"{self.case}: {time.monotonic() - self.struck:.0f} s: {what}")  # noqa: T201

    def _patiently(self, condition: Callable[[], bool], what: str) -> None:
        """Wait; what cannot be asked because something is broken is asked again."""

        def look() -> bool:
            time.sleep(LOOK_SECONDS)
            with suppress(KubectlError):
                return condition()
            return False

        eventually(look, seconds=RECOVERY_SECONDS, what=f"{self.case}: {what}")


def _held(row: str) -> Held:
    task, seq, stage, subject, recipe, pod, results = row.split("|")
    return Held(int(task), int(seq), stage, subject, int(recipe), pod, int(results))
