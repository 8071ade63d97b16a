-- How far a project's videos are. Counts are cumulative: what was extracted was downloaded too.
CREATE FUNCTION project_counts(p_project integer)
RETURNS TABLE (total_videos bigint, videos_pending bigint, videos_downloaded bigint,
               videos_extracted bigint, videos_failed bigint, extracted_frames bigint,
               filtered_frames bigint)
LANGUAGE sql STABLE ROWS 1 AS $$
    WITH recipe AS (
        SELECT max(s.recipe_id) FILTER (WHERE s.stage = 'download') AS download,
               max(s.recipe_id) FILTER (WHERE s.stage = 'extract') AS extract,
               max(s.recipe_id) FILTER (WHERE s.stage = 'filter') AS filter
        FROM project_stages s WHERE s.project_id = p_project),
    dead AS (
        SELECT DISTINCT t.video_id FROM project_stages s
        JOIN tasks t ON t.recipe_id = s.recipe_id AND t.state = 'failed'
        WHERE s.project_id = p_project
          AND s.stage IN ('download', 'extract', 'embed', 'filter', 'dedup_embed'))
    SELECT count(*),
           count(*) FILTER (WHERE d.subject IS NULL AND x.video_id IS NULL
                            AND m.skip_reason IS NULL),
           count(*) FILTER (WHERE d.outcome = 'done'),
           count(*) FILTER (WHERE e.outcome = 'done'),
           count(x.video_id),
           coalesce(sum(e.frames), 0),
           coalesce(sum(f.frames), 0)
    FROM recipe
    JOIN project_videos m ON m.project_id = p_project
    LEFT JOIN results d ON d.recipe_id = recipe.download AND d.subject = m.video_id
    LEFT JOIN results e ON e.recipe_id = recipe.extract AND e.subject = m.video_id
    LEFT JOIN results f ON f.recipe_id = recipe.filter AND f.subject = m.video_id
    LEFT JOIN dead x ON x.video_id = m.video_id
$$;

CREATE FUNCTION project_has_task(p_project integer, p_stage text, p_states text[])
RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM live_waves w
        JOIN project_stages s ON s.project_id = w.project_id AND s.stage = p_stage
        JOIN tasks t ON t.recipe_id = s.recipe_id AND t.wave_id = w.wave_id
        WHERE w.project_id = p_project AND t.state = ANY (p_states))
$$;

-- Whether something that every project does first is still to come: its sources are not all looked
-- through, or none of them gave a video. So an error never looks like a complete project.
CREATE FUNCTION project_populating(p_project integer) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT NOT EXISTS (SELECT FROM project_videos WHERE project_id = p_project)
        OR EXISTS (
            SELECT FROM live_sources s
            WHERE s.project_id = p_project
              AND NOT EXISTS (SELECT FROM results r
                              WHERE r.recipe_id = s.recipe_id AND r.subject = s.subject)
              AND NOT EXISTS (SELECT FROM tasks t
                              WHERE t.recipe_id = s.recipe_id AND t.subject = s.subject
                                AND t.state = 'failed'))
$$;

-- Whether videos are on their own way still: members that have not ended, or none let them in yet.
CREATE FUNCTION project_filtering(p_project integer) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM live_waves w
        WHERE w.project_id = p_project AND NOT wave_ended(p_project, w.wave_id)
    ) OR EXISTS (
        SELECT FROM projects p
        JOIN project_stages s ON s.project_id = p.project_id AND s.stage = 'discover'
        JOIN project_sources f ON f.project_id = p.project_id AND f.recipe_id = s.recipe_id
        JOIN project_videos m ON m.project_id = p.project_id AND m.video_id = f.video_id
        LEFT JOIN waves w ON w.wave_id = m.wave_id AND w.epoch = p.wave_epoch
        WHERE p.project_id = p_project AND w.wave_id IS NULL AND m.skip_reason IS NULL
          AND (p.target_images IS NULL
               OR images_before(p_project, p.wave_epoch, 2147483647) < p.target_images))
$$;

-- Waves overlap, so several of these are true at once: what runs for the whole project comes first,
-- then what waits to, then the videos. The export counts as the end of detection.
CREATE FUNCTION project_stage(p_project integer) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN project_populating(p_project) THEN 'POPULATING'
        WHEN project_has_task(p_project, 'dedup', '{running}') THEN 'DEDUPING'
        WHEN project_has_task(p_project, 'detect', '{running}')
            OR project_has_task(p_project, 'export', '{running}') THEN 'DETECTING'
        WHEN project_has_task(p_project, 'dedup', '{ready,waiting,failed}') THEN 'DEDUP_READY'
        WHEN EXISTS (
            SELECT FROM live_waves w
            JOIN project_stages d ON d.project_id = w.project_id AND d.stage = 'dedup'
            JOIN results r ON r.recipe_id = d.recipe_id AND r.subject = 'w' || w.wave_id
            WHERE w.project_id = p_project
              AND (NOT wave_labelled(p_project, w.wave_id)
                   OR EXISTS (SELECT FROM project_stages x
                              WHERE x.project_id = p_project AND x.stage = 'export'
                                AND NOT EXISTS (
                                    SELECT FROM results y
                                    WHERE y.recipe_id = x.recipe_id
                                      AND y.subject = 'w' || w.wave_id))))
            THEN 'DETECT_READY'
        WHEN project_filtering(p_project) THEN 'FILTERING'
        WHEN EXISTS (
            SELECT FROM live_waves w
            JOIN project_stages d ON d.project_id = w.project_id AND d.stage = 'dedup'
            WHERE w.project_id = p_project
              AND NOT EXISTS (SELECT FROM results r
                              WHERE r.recipe_id = d.recipe_id AND r.subject = 'w' || w.wave_id))
            THEN 'DEDUP_READY'
        ELSE 'COMPLETE'
    END
$$;

-- What the project-wide stages made: images kept in all waves, and where the last of them is.
CREATE FUNCTION project_outputs(p_project integer)
RETURNS TABLE (unique_frames bigint, dedup_dir text, detect_dir text)
LANGUAGE sql STABLE ROWS 1 AS $$
    WITH made AS (
        SELECT r.stage, r.frames, r.recipe_id, r.subject, w.n
        FROM live_waves w
        JOIN project_stages s ON s.project_id = w.project_id AND s.stage IN ('dedup', 'detect')
        JOIN results r ON r.recipe_id = s.recipe_id AND r.wave_id = w.wave_id
        WHERE w.project_id = p_project AND r.outcome = 'done')
    SELECT coalesce((SELECT sum(m.frames) FROM made m WHERE m.stage = 'dedup'), 0)::bigint,
           (SELECT result_path(m.recipe_id, m.subject, 'selection', NULL) FROM made m
            WHERE m.stage = 'dedup' ORDER BY m.n DESC LIMIT 1),
           (SELECT result_path(m.recipe_id, m.subject, 'detections', NULL) FROM made m
            WHERE m.stage = 'detect' ORDER BY m.n DESC, m.subject DESC LIMIT 1)
$$;

CREATE VIEW project_status AS
SELECT p.project_id, p.namespace, p.name, project_stage(p.project_id) AS project_stage,
       c.total_videos, c.videos_pending, c.videos_downloaded, c.videos_extracted, c.videos_failed,
       c.extracted_frames, c.filtered_frames, o.unique_frames, o.dedup_dir, o.detect_dir
FROM projects p
CROSS JOIN LATERAL project_counts(p.project_id) c
CROSS JOIN LATERAL project_outputs(p.project_id) o
WHERE p.deleted_at IS NULL;
