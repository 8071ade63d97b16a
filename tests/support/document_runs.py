"""What the commands of the documents find: programs, and images under the names of the chart."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Final

import yaml

from support.chart import CHART
from support.helm_tools import helm
from support.kubectl import Kubectl
from support.release import IMAGES

KEYS: Final = dict(zip(IMAGES, ("worker", "operator", "postgres", "s3"), strict=True))
"""What the chart's values call the images, by our names."""


def cluster_environment(kubectl: Kubectl, home: Path) -> dict[str, str]:
    """What a shell has that works on a cluster: kubectl, helm and a home of its own."""
    programs = (str(kubectl.program.parent), str(helm().parent), "/usr/local/bin:/usr/bin:/bin")
    return {
        "HOME": str(home),
        "KUBECONFIG": str(kubectl.kubeconfig),
        "LANG": "C.UTF-8",
        "PATH": os.pathsep.join(programs),
    }


def chart_images() -> dict[str, str]:
    """The names that an installation without values uses for images, by our names."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    images = yaml.safe_load((CHART / "values.yaml").read_text())["images"]
    return {
        ours: f"{images[key]['repository']}:{images[key]['tag'] or chart['appVersion']}"
        for ours, key in KEYS.items()
    }


def renamed(archive: Path, name: str, to: Path) -> Path:
    """A copy of an image's archive, as `docker save` would write it under another name."""
    with tarfile.open(archive) as old, tarfile.open(to, "w") as new:
        for member in old:
            content = old.extractfile(member)
            if member.name == "manifest.json":
                assert content
                (image,) = json.load(content)
                text = json.dumps([{**image, "RepoTags": [name]}]).encode()
                member.size, content = len(text), io.BytesIO(text)
            if member.name != "repositories":
                new.addfile(member, content)
    return to
