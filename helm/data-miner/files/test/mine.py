"""`helm test`: applies the demo as a project, waits until it is Complete, and takes it away again.

Asks the API server through its REST interface alone, as the account of this pod.
"""

import http.client
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
NAMESPACE = os.environ["TEST_NAMESPACE"]
NAME = os.environ["TEST_PROJECT"]
DEADLINE = time.monotonic() + float(os.environ["TEST_SECONDS"])
PROJECTS = f"/apis/data-miner.io/v1alpha1/namespaces/{NAMESPACE}/miningprojects"
CONTEXT = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))


def ask(method, path, body=None):
    """The answer, or None when there is no such thing.

    Who does not answer is asked again until the deadline: an API server is replaced now and then.
    """
    lost = False
    while True:
        try:
            return once(method, path, body)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            if error.code == 409 and method == "POST" and lost:
                return None  # it was made, and the answer did not come
            said = f"{method} {path}: {error.code} {text(error)}"
            if error.code != 429 and error.code < 500:
                sys.exit(said)
        except (OSError, http.client.HTTPException, ValueError) as error:
            said = f"{method} {path}: {error!r}"
        lost = True
        if time.monotonic() > DEADLINE:
            sys.exit(f"gave up asking the API server: {said}")
        print(f"asks again: {said}", flush=True)
        time.sleep(2)


def once(method, path, body):
    host = os.environ["KUBERNETES_SERVICE_HOST"]
    host = f"[{host}]" if ":" in host else host
    request = urllib.request.Request(
        f"https://{host}:{os.environ['KUBERNETES_SERVICE_PORT']}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, context=CONTEXT, timeout=20) as answer:
        return json.load(answer)


def text(error):
    try:
        return error.read().decode(errors="replace")[:500]
    except (OSError, http.client.HTTPException):
        return ""


def wait(what, look):
    """The first answer that holds. Ends the test when it takes too long."""
    said = ""
    while time.monotonic() < DEADLINE:
        holds, line = look()
        if line != said:
            print(line, flush=True)
            said = line
        if holds:
            return
        time.sleep(2)
    sys.exit(f"gave up waiting for {what}: {said}")


def gone():
    found = ask("GET", f"{PROJECTS}/{NAME}")
    return found is None, "no project of an earlier test" if found is None else "one is going"


def complete():
    found = ask("GET", f"{PROJECTS}/{NAME}") or {}
    status = found.get("status") or {}
    known = {c["type"]: c for c in status.get("conditions") or ()}
    reason = f"{status.get('phase', 'not looked at yet')}: {status.get('reason', '')}"
    ready = known.get("Ready") or {}
    done = (known.get("Complete") or {}).get("status") == "True"
    stalled = (known.get("Stalled") or {}).get("status") == "True"
    if stalled:
        sys.exit(f"stalled: {ready.get('reason')}: {ready.get('message')}")
    images = (status.get("images") or {}).get("kept", 0)
    return done, f"{reason}, {images} images" if done else f"{reason} {ready.get('message', '')}"


ask("DELETE", f"{PROJECTS}/{NAME}")
wait("an earlier test's project to go", gone)
project = json.loads(Path("/etc/data-miner/test/project.json").read_text())
project["metadata"] = {"name": NAME, "namespace": NAMESPACE}
ask("POST", PROJECTS, project)
wait("the project to be complete", complete)
ask("DELETE", f"{PROJECTS}/{NAME}")
print("a dataset was mined")
