"""What people get who install data-miner: which licences come with it."""

from __future__ import annotations

import re
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
FREE = re.compile(
    r"0BSD|apache|bsd|cc0-1\.0|isc|mit|mit-cmu|psf-2\.0|python software foundation|unlicense|zlib"
    r"|dual license",
    re.I,
)
"""Licences that ask for no more than to be named."""
COPYLEFT = re.compile(r"gpl|general public|mpl|mozilla|eupl|cddl|sspl|epl|eclipse", re.I)
NAMED = {
    "certifi": "MPL-2.0",
    "psycopg2-binary": "LGPL-3.0",
    "tqdm": "MPL-2.0",
}
"""Packages that ask for more, which NOTICE must tell."""


def locked() -> set[str]:
    """Names of what the default installation installs."""
    text = (ROOT / "locks/runtime.txt").read_text(encoding="utf-8")
    return {match.lower() for match in re.findall(r"^([A-Za-z0-9._-]+)(?:\[.*?\])?==", text, re.M)}


def licences(name: str) -> list[str]:
    """All that a package says of its licence: expression, field and classifiers."""
    try:
        told: PackageMetadata = metadata(name)
    except PackageNotFoundError:  # for another system
        return []
    fields = [*(told.get_all("License-Expression") or []), *(told.get_all("License") or [])]
    classifiers = told.get_all("Classifier") or []
    fields += [c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License ::")]
    words = [" ".join(text.split())[:80] for text in fields]
    return [word for word in words if word not in {"", "UNKNOWN", "OSI Approved"}]


def test_no_package_asks_for_more_than_notice_tells() -> None:
    """Each package of the default installation is free of copyleft, or NOTICE names its licence."""
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    found = {name: licences(name) for name in sorted(locked())}
    found = {name: said for name, said in found.items() if said}

    asking = {name for name, said in found.items() if any(COPYLEFT.search(one) for one in said)}
    unknown = {name for name, said in found.items() if not any(FREE.search(one) for one in said)}

    assert len(found) > 40
    assert asking == set(NAMED)
    assert unknown <= set(NAMED)
    for name, licence in NAMED.items():
        assert re.search(rf"{name} \({re.escape(licence)}", notice), name
