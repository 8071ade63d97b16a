"""How the story of an image reads."""

from __future__ import annotations

from data_miner.catalog.explanation import Explanation


def test_a_strangers_title_and_address_are_only_shown() -> None:
    """A title cannot add lines or move the cursor; an address does not give its token away."""
    told = Explanation(
        image="v-000001",
        video_id="v",
        frame=1,
        pts_seconds=None,
        url="https://x.test/v.mp4?token=hunter2",
        title="a\n  in version 9\x1b[2J",
        licence="CC\x07",
        uses=(),
    ).text()

    assert told.splitlines() == [
        "v-000001: frame 1 of a   in version 9�[2J",
        "  https://x.test/v.mp4?token=***",
        "  licence: CC�",
    ]
