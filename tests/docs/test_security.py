"""docs/security.md says of the network what the rendered policies say."""

from __future__ import annotations

import re

from support.chart import of_kind, pods, render
from support.go_programs import ROOT
from support.network_policy import End, allowed

PORTS = {"database": 5432, "store": 7070}
OUTSIDE = (
    (End("dns", "10.96.0.10", "kube-system"), 53),
    (End("API server", "172.18.0.2"), 6443),
    (End("internet", "93.184.216.34"), 443),
    (End("private network", "192.168.1.20"), 443),
    (End("metadata of a cloud", "169.254.169.254"), 80),
    (End("other pod", "10.244.3.9", "elsewhere"), 8080),
)


def test_the_table_of_what_pods_reach_is_true() -> None:
    """For an installation without values, but that knows where its API server is."""
    objects = render({"networkPolicy": {"apiServerCidrs": ["172.18.0.2/32"]}})
    policies = of_kind(objects, "NetworkPolicy")
    ours = {
        pod.component: End(pod.component, f"10.244.1.{number}", "mining", pod.labels)
        for number, pod in enumerate(pods(objects), 1)
    }
    targets = [*((ours[name], port) for name, port in PORTS.items()), *OUTSIDE]
    reached = {
        name: ", ".join(
            target.name
            for target, port in targets
            if target is not source
            and allowed(policies, source, target, port, udp=target.name == "dns")
        )
        for name, source in ours.items()
    }
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    table = text.partition("<!-- reach:")[2].partition("<!-- end -->")[0]
    rows = dict(re.findall(r"^\| (\w+) \| (.+) \|$", table, re.MULTILINE))
    assert rows.pop("pod") == "reaches"
    assert rows == {name: what or "nothing" for name, what in reached.items()}
