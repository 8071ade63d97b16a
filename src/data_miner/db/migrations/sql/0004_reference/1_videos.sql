-- Status under the names that earlier tools used. Nothing here is stored: facts and live tasks say
-- it. Each view is its table beside a function of the row, so that a row of the view can be locked.

-- Where the files of a result are: its first artifact of a kind, or what released it said.
CREATE FUNCTION result_path(p_recipe integer, p_subject text, p_kind text, p_said text)
RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        (SELECT a.uri FROM artifacts a
         WHERE a.recipe_id = p_recipe AND a.subject = p_subject AND a.kind = p_kind
           AND a.deleted_at IS NULL
         ORDER BY a.position LIMIT 1),
        p_said)
$$;

-- A skipped download or extraction is FAILED here: these names have no other word for a video of
-- which nothing will come.
CREATE FUNCTION video_state(p_video text)
RETURNS TABLE (video_path text, frames_dir text, frame_count integer, status text,
               locked_by text, heartbeat_at timestamptz)
LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT result_path(d.recipe_id, d.subject, 'source', d.facts ->> 'video_path'),
           result_path(e.recipe_id, e.subject, 'index', e.facts ->> 'frames_dir'),
           e.frames,
           CASE
               WHEN t.extracting THEN 'EXTRACTING'
               WHEN e.subject IS NOT NULL THEN 'EXTRACTED'
               WHEN t.downloading THEN 'DOWNLOADING'
               WHEN t.extract_failed OR s.extract_skipped THEN 'FAILED'
               WHEN d.subject IS NOT NULL THEN 'DOWNLOADED'
               WHEN t.download_failed OR s.download_skipped THEN 'FAILED'
               ELSE 'PENDING'
           END,
           l.claimed_by,
           l.heartbeat_at
    FROM (SELECT bool_or(x.state = 'running' AND x.stage = 'extract') AS extracting,
                 bool_or(x.state = 'running' AND x.stage = 'download') AS downloading,
                 bool_or(x.state = 'failed' AND x.stage = 'extract') AS extract_failed,
                 bool_or(x.state = 'failed' AND x.stage = 'download') AS download_failed
          FROM tasks x WHERE x.video_id = p_video AND x.stage IN ('download', 'extract')) t
    CROSS JOIN (SELECT bool_or(r.stage = 'extract') AS extract_skipped,
                       bool_or(r.stage = 'download') AS download_skipped
                FROM results r
                WHERE r.video_id = p_video AND r.outcome = 'skipped'
                  AND r.stage IN ('download', 'extract')) s
    LEFT JOIN LATERAL (
        SELECT r.* FROM results r
        WHERE r.video_id = p_video AND r.stage = 'download' AND r.outcome = 'done'
          AND r.gone_at IS NULL
        ORDER BY r.finished_at DESC, r.recipe_id DESC LIMIT 1) d ON true
    LEFT JOIN LATERAL (
        SELECT r.* FROM results r
        WHERE r.video_id = p_video AND r.stage = 'extract' AND r.outcome = 'done'
          AND r.gone_at IS NULL
        ORDER BY r.finished_at DESC, r.recipe_id DESC LIMIT 1) e ON true
    LEFT JOIN LATERAL (
        SELECT x.claimed_by, x.heartbeat_at FROM tasks x
        WHERE x.video_id = p_video AND x.stage IN ('download', 'extract') AND x.state = 'running'
        ORDER BY x.stage DESC, x.id LIMIT 1) l ON true
$$;

CREATE VIEW video_status AS
SELECT v.video_id, v.url, v.source_type, v.source_info, s.video_path, s.frames_dir, s.frame_count,
       s.status, s.locked_by, s.heartbeat_at
FROM videos v
CROSS JOIN LATERAL video_state(v.video_id) s;

-- A video that `select` or a stage left out is FILTERED_EMPTY: nothing of it passes, and that is no
-- failure.
CREATE FUNCTION project_video_state(p_project integer, p_video text, p_skip_reason text)
RETURNS TABLE (filtered_dir text, passed_frames integer, status text, locked_by text,
               heartbeat_at timestamptz)
LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT result_path(r.recipe_id, r.subject, 'scores', r.facts ->> 'filtered_dir'),
           r.frames,
           CASE
               WHEN t.state = 'running' THEN 'FILTERING'
               WHEN r.frames > 0 THEN 'FILTERED'
               WHEN r.subject IS NOT NULL THEN 'FILTERED_EMPTY'
               WHEN u.failed THEN 'FAILED'
               WHEN u.empty OR p_skip_reason IS NOT NULL THEN 'FILTERED_EMPTY'
               ELSE 'PENDING'
           END,
           t.claimed_by,
           t.heartbeat_at
    FROM (SELECT EXISTS (
              SELECT FROM project_stages s
              JOIN tasks x ON x.recipe_id = s.recipe_id AND x.subject = p_video
              WHERE s.project_id = p_project AND x.state = 'failed'
                AND s.stage IN ('download', 'extract', 'embed', 'filter')) AS failed,
          EXISTS (
              SELECT FROM project_stages s
              JOIN results x ON x.recipe_id = s.recipe_id AND x.subject = p_video
              WHERE s.project_id = p_project AND (x.outcome = 'skipped' OR x.frames = 0)
                AND s.stage IN ('download', 'extract', 'embed')) AS empty) u
    LEFT JOIN project_stages f ON f.project_id = p_project AND f.stage = 'filter'
    LEFT JOIN results r ON r.recipe_id = f.recipe_id AND r.subject = p_video
    LEFT JOIN tasks t ON t.recipe_id = f.recipe_id AND t.subject = p_video
$$;

CREATE VIEW project_video_status AS
SELECT m.id, m.project_id, m.video_id, s.filtered_dir, s.passed_frames, s.status, s.locked_by,
       s.heartbeat_at
FROM project_videos m
CROSS JOIN LATERAL project_video_state(m.project_id, m.video_id, m.skip_reason) s;
