"""Videos by address: named one by one, or listed by a site."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import fsspec

from data_miner.outside import printable
from data_miner_worker.discovery.candidates import Candidate
from data_miner_worker.discovery.names import site_id, url_id
from data_miner_worker.download import sites
from data_miner_worker.download.copying import local_path, remote_failures

_ADDRESS: Final = re.compile(r"https?://[^\s/?#]+\S*")
_LONGEST_LIST_BYTES: Final = 64 << 20


def read_list(path: str) -> list[str]:
    """The lines of a file (path or URI) that are neither empty nor begin with #.

    Raises StageError: ``not_found``, ``denied``, ``unreachable``, ``not_text``.
    """
    here = local_path(path)
    with remote_failures(path), here.open("rb") if here else fsspec.open(path, "rb") as file:
        text = file.read(_LONGEST_LIST_BYTES).decode("utf-8-sig", "replace")
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def by_hand(urls: Iterable[str], source_type: str, source_info: str | None) -> Iterator[Candidate]:
    """A candidate for each address; for what is none, a candidate that says so."""
    for url in urls:
        refused = _refused(url, source_type, source_info)
        if refused is not None:
            yield refused
            continue
        page = sites.known_page(url)
        yield Candidate(identify(url, {}), url, source_type, source_info, on_page=page is not None)


def _refused(url: str, source_type: str, source_info: str | None) -> Candidate | None:
    """The candidate for what is no address of the web, or must not be kept; None for others.

    A site's list too may name a file of this machine, and nobody's password belongs in a row.
    """
    if not _is_address(url):
        reason = f"NotAnAddress: {url[:200]}"
    elif "@" in urlsplit(url).netloc:
        url = urlsplit(url)._replace(netloc=urlsplit(url).netloc.rpartition("@")[2]).geturl()
        reason = f"HoldsPassword: {url[:200]}: put it in a credential (spec.download.secretRef)"
    else:
        return None
    return Candidate(url_id(url), url, source_type, source_info, unusable=reason)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        plain = _ADDRESS.fullmatch(url) and printable(url) == url
        return bool(plain and parts.hostname and parts.port != 0)
    except ValueError:  # brackets or a port that cannot be
        return False


def listed(
    entries: Iterable[Mapping[str, Any]], source_type: str, source_info: str
) -> Iterator[Candidate]:
    """A candidate for each entry of a site's list; for what is no address, one that says so."""
    for entry in entries:
        url = str(entry["url"])
        refused = _refused(url, source_type, source_info)
        if refused is not None:
            yield refused
            continue
        yield Candidate(
            identify(url, entry),
            url,
            source_type,
            source_info,
            title=entry.get("title"),
            metadata={k: v for k, v in entry.items() if k not in {"url", "title", "id"}},
            on_page=sites.known_page(url) is not None,
        )


def identify(url: str, entry: Mapping[str, Any]) -> str:
    """The id of the video at an address: the site's own where there is one."""
    page = sites.known_page(url)
    if page is None:
        return url_id(url)
    video_id = page.video_id or entry.get("id")
    return site_id(page.extractor, str(video_id)) if video_id else url_id(url)
