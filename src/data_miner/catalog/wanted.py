"""SQL for all that one project calls for, as (stage, recipe, subject): with or without a result."""

from __future__ import annotations

from typing import Final

from sqlalchemy import TextClause, text

from data_miner.pipeline import STAGES, Scope

_BY_SCOPE: Final = {scope: [s.name for s in STAGES if s.scope is scope] for scope in Scope}


def _stages(scope: Scope) -> str:
    return ", ".join(f"'{name}'" for name in _BY_SCOPE[scope])


# cut and detect are called for where the near-duplicates of the wave left something of the video.
_MINE = """
    epoch AS MATERIALIZED (
        SELECT wave_id, n FROM live_waves WHERE project_id = :project_id
    ),
    members AS MATERIALIZED (
        SELECT pv.video_id, pv.wave_id FROM epoch JOIN project_videos pv USING (wave_id)
    ),
    own AS MATERIALIZED (
        SELECT stage, recipe_id, ends_member FROM project_stages WHERE project_id = :project_id
    ),
    kept AS MATERIALIZED (
        SELECT epoch.wave_id, k.video_id COLLATE "C" AS video_id, k.images::int AS images
        FROM own JOIN epoch ON own.stage = 'dedup'
        JOIN results r ON r.recipe_id = own.recipe_id
                      AND r.subject = ('w' || epoch.wave_id) COLLATE "C" AND r.outcome = 'done'
        CROSS JOIN LATERAL jsonb_each_text(coalesce(r.facts -> 'kept_by_video', '{{}}'))
                   AS k(video_id, images)
        WHERE k.images::int > 0
    ),
    mine AS (
        SELECT own.stage, own.recipe_id, ('p' || :project_id || '/' || i) COLLATE "C" AS subject,
               NULL::text COLLATE "C" AS video_id, NULL::int AS wave_id
        FROM own JOIN recipes c USING (recipe_id)
        CROSS JOIN LATERAL generate_series(0, jsonb_array_length(c.params -> 'sources') - 1) i
        WHERE own.stage IN ({source})
        UNION ALL
        SELECT own.stage, own.recipe_id, m.video_id, m.video_id, NULL
        FROM own CROSS JOIN members m WHERE own.stage IN ({video})
        UNION ALL
        SELECT own.stage, own.recipe_id, ('w' || w.wave_id) COLLATE "C", NULL, w.wave_id
        FROM own CROSS JOIN epoch w WHERE own.stage IN ({wave})
        UNION ALL
        SELECT own.stage, own.recipe_id, ('w' || k.wave_id || '/' || k.video_id) COLLATE "C",
               k.video_id, k.wave_id
        FROM own CROSS JOIN kept k WHERE own.stage IN ({wave_video})
    )
"""

MINE: Final = _MINE.format(**{scope.value: _stages(scope) for scope in Scope})
"""Common table expressions that need :project_id: `epoch` (the waves that count), `members`, `own`
(the project's recipes), `kept`, and `mine` (stage, recipe_id, subject, video_id, wave_id)."""


def query(template: str) -> TextClause:
    """A statement with `{MINE}` filled in."""
    return text(template.replace("{MINE}", MINE))
