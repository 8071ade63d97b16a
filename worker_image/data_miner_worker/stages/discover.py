"""discover: which videos one source has, and which of them the project wants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from data_miner.stage import Context, Done, Outcome, StageError
from data_miner_worker.discovery import files
from data_miner_worker.discovery.candidates import Candidate
from data_miner_worker.discovery.select import needs_more, skip_reason
from data_miner_worker.download import Instead, Limits, socket_timeout_seconds
from data_miner_worker.download.credentials import cookies

_ASKED_PER_CHECKPOINT: Final = 10


class Discover:
    """Lists one source of one project, in the source's order."""

    name: ClassVar[str] = "discover"

    def run(self, context: Context) -> Outcome:
        params = context.assignment.params
        index = int(context.assignment.subject.rpartition("/")[2])
        kind, source = next(
            (kind, value) for kind, value in params["sources"][index].items() if value
        )
        try:
            candidates = _unique(_candidates(context, kind, source, params["select"]))
            candidates = _ask_for_more(context, candidates, params["select"])
        except Instead as instead:
            return instead.outcome
        query = source["query"] if kind == "search" else None
        videos = [
            one.record(
                rank,
                query,
                one.unusable or skip_reason(params["select"], one.title, one.metadata),
            )
            for rank, one in enumerate(candidates)
        ]
        return Done(
            facts={
                "found": len(videos),
                "selected": sum(video["skip_reason"] is None for video in videos),
            },
            records={"videos": videos},
        )


def _candidates(
    context: Context, kind: str, source: Mapping[str, Any], select: Mapping[str, Any]
) -> Iterable[Candidate]:
    """Raises StageError, Instead."""
    if kind == "files":
        bounds = select["duration"]
        return files.find(
            source["uri"],
            source["glob"],
            probe=bounds["min"] is not None or bounds["max"] is not None,
            tick=context.tick,
        )
    # Only who asks the web pays for the import of yt-dlp.
    from data_miner_worker.discovery import addresses  # noqa: PLC0415
    from data_miner_worker.download import sites  # noqa: PLC0415

    if kind == "urls":
        if source["file"]:
            urls = addresses.read_list(source["file"])
            return addresses.by_hand(urls, "FILE", source["file"])
        return addresses.by_hand(source["items"], "MANUAL", None)
    limit = int(source["limit"])
    if kind == "search":
        address, named, source_type = (
            f"ytsearch{limit}:{source['query']}",
            source["query"],
            "SEARCH",
        )
    else:
        address, named, source_type = source["url"], source["url"], "URL"
    entries = sites.listing(address, limit, context.scratch, _limits(context), context.tick)
    return addresses.listed(entries, source_type, named)


def _ask_for_more(
    context: Context, candidates: list[Candidate], select: Mapping[str, Any]
) -> list[Candidate]:
    """Fetch the metadata of single videos where the selection depends on what a list left out."""
    asked: dict[str, dict[str, Any]] = dict((context.assignment.checkpoint or {}).get("asked", {}))
    done = []
    for number, one in enumerate(candidates, start=1):
        context.tick(number / len(candidates))
        if _worth_asking(one, select):
            if one.video_id not in asked:
                asked[one.video_id] = _metadata(context, one.url)
                if len(asked) % _ASKED_PER_CHECKPOINT == 0:
                    context.checkpoint({"asked": asked})
            more = {k: v for k, v in asked[one.video_id].items() if k not in {"id", "title"}}
            title = one.title or asked[one.video_id].get("title")
            done.append(replace(one, title=title, metadata={**one.metadata, **more}))
        else:
            done.append(one)
    return done


def _worth_asking(one: Candidate, select: Mapping[str, Any]) -> bool:
    if not one.on_page or one.unusable or not needs_more(select, one.title, one.metadata):
        return False
    # What is known may leave the video out already; the licence is what is asked for.
    return skip_reason({**select, "licences": ()}, one.title, one.metadata) is None


def _metadata(context: Context, url: str) -> dict[str, Any]:
    from data_miner_worker.download import sites  # noqa: PLC0415 - see _candidates

    try:
        return dict(sites.metadata(url, context.scratch, _limits(context), context.tick))
    except StageError as error:
        if not error.permanent:
            raise
        return {}  # the download says what is wrong with it


def _limits(context: Context) -> Limits:
    return Limits(
        cookies=cookies(context),
        timeout_seconds=socket_timeout_seconds(),
        asked=lambda: context.count("requests"),
    )


def _unique(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The first of those with the same id."""
    first: dict[str, Candidate] = {}
    for one in candidates:
        first.setdefault(one.video_id, one)
    return list(first.values())
