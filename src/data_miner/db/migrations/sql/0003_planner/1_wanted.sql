-- What specs and facts call for. Planning is level-triggered: nothing here remembers an event.
-- A task, or a result, is about a source (p{project}/{index}), a video ({video}), a wave (w{wave})
-- or a wave's video (w{wave}/{video}).

-- The stages in order, and the stages that each may follow; as data_miner/pipeline.py has it.
CREATE FUNCTION pipeline()
RETURNS TABLE (place integer, stage text, scope text, reads text[])
LANGUAGE sql IMMUTABLE ROWS 10 AS $$
    VALUES (0, 'discover', 'source', '{}'::text[]),
           (1, 'download', 'video', '{discover}'),
           (2, 'extract', 'video', '{download}'),
           (3, 'embed', 'video', '{extract}'),
           (4, 'filter', 'video', '{embed,extract}'),
           (5, 'dedup_embed', 'video', '{filter}'),
           (6, 'dedup', 'wave', '{dedup_embed,filter}'),
           (7, 'cut', 'wave_video', '{dedup}'),
           (8, 'detect', 'wave_video', '{cut}'),
           (9, 'export', 'wave', '{detect,cut}')
$$;

-- Images that the waves before wave n of an epoch keep.
CREATE FUNCTION images_before(p_project integer, p_epoch integer, p_n integer) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(r.frames), 0)::bigint
    FROM project_stages s
    JOIN waves w ON w.project_id = s.project_id AND w.epoch = p_epoch AND w.n < p_n
    JOIN results r ON r.recipe_id = s.recipe_id AND r.subject = 'w' || w.wave_id
    WHERE s.project_id = p_project AND s.stage = 'dedup'
$$;

-- Waves that count: of the project's present epoch, and not past its target. Which waves those
-- are depends on results alone, so stopping early gives the same dataset every time.
CREATE VIEW live_waves AS
SELECT w.wave_id, w.project_id, w.epoch, w.n, p.priority, p.suspended
FROM waves w
JOIN projects p ON p.project_id = w.project_id AND p.wave_epoch = w.epoch
WHERE p.deleted_at IS NULL
  AND (p.target_images IS NULL OR w.n = 1
       OR images_before(w.project_id, w.epoch, w.n) < p.target_images);

CREATE VIEW live_members AS
SELECT m.video_id, w.wave_id, w.project_id, w.priority, w.suspended
FROM project_videos m
JOIN live_waves w ON w.wave_id = m.wave_id;

CREATE VIEW live_sources AS
SELECT s.recipe_id, ('p' || p.project_id || '/' || i) COLLATE "C" AS subject, p.project_id,
       p.priority, p.suspended
FROM projects p
JOIN project_stages s ON s.project_id = p.project_id AND s.stage = 'discover'
JOIN recipes r ON r.recipe_id = s.recipe_id
CROSS JOIN LATERAL generate_series(0, jsonb_array_length(r.params -> 'sources') - 1) AS i
WHERE p.deleted_at IS NULL;

-- Per-video stages that active projects want and whose input is there. A video that yields no
-- frame at some stage goes no further.
CREATE VIEW wanted_videos AS
SELECT s.stage, s.recipe_id, m.video_id, m.project_id, m.priority
FROM live_members m
JOIN project_stages s ON s.project_id = m.project_id AND s.stage = 'download'
WHERE NOT m.suspended
UNION ALL
SELECT s.stage, s.recipe_id, m.video_id, m.project_id, m.priority
FROM live_members m
JOIN project_stages s ON s.project_id = m.project_id
    AND s.stage IN ('extract', 'embed', 'filter', 'dedup_embed')
JOIN project_stages u ON u.project_id = s.project_id AND u.stage = s.reads
JOIN results i ON i.recipe_id = u.recipe_id AND i.subject = m.video_id
    AND i.outcome = 'done' AND i.gone_at IS NULL AND i.frames IS DISTINCT FROM 0
WHERE NOT m.suspended;

-- Whether something that reads this result, whose files retention took, is still to be made.
CREATE FUNCTION wanted_again(p_project integer, p_stage text, p_video text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM project_stages s
        LEFT JOIN results r ON r.recipe_id = s.recipe_id AND r.subject = p_video
        WHERE s.project_id = p_project AND s.reads = p_stage AND s.stage <> 'dedup'
          AND (r.subject IS NULL
               OR (r.gone_at IS NOT NULL AND r.outcome = 'done' AND r.frames IS DISTINCT FROM 0
                   AND wanted_again(p_project, s.stage, p_video)))
    ) OR (p_stage = 'download' AND EXISTS (
        SELECT FROM project_videos m
        JOIN project_stages d ON d.project_id = m.project_id AND d.stage = 'dedup'
        JOIN project_stages c ON c.project_id = m.project_id AND c.stage = 'cut'
        JOIN results r ON r.recipe_id = d.recipe_id AND r.subject = 'w' || m.wave_id
        WHERE m.project_id = p_project AND m.video_id = p_video
          AND (r.facts -> 'kept_by_video' ->> p_video)::integer > 0
          AND NOT EXISTS (
              SELECT FROM results x
              WHERE x.recipe_id = c.recipe_id AND x.subject = r.subject || '/' || p_video)));
END $$;

-- A member has ended when its last stage has a result, or when it was skipped, yielded nothing or
-- failed on the way there.
CREATE FUNCTION member_ended(p_project integer, p_video text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM project_stages s
        JOIN results r ON r.recipe_id = s.recipe_id AND r.subject = p_video
        WHERE s.project_id = p_project
          AND s.stage IN ('download', 'extract', 'embed', 'filter', 'dedup_embed')
          AND (s.ends_member OR r.outcome = 'skipped' OR r.frames = 0)
    ) OR EXISTS (
        SELECT FROM project_stages s
        JOIN tasks t ON t.recipe_id = s.recipe_id AND t.subject = p_video
        WHERE s.project_id = p_project
          AND s.stage IN ('download', 'extract', 'embed', 'filter', 'dedup_embed')
          AND t.state = 'failed')
$$;

-- Whether all members of a wave have ended. Asked from the highest video down, because that is the
-- one that is worked on last: so the answer "not yet" costs one probe, not one for each member.
CREATE FUNCTION wave_ended(p_project integer, p_wave integer) RETURNS boolean
LANGUAGE sql STABLE COST 10000 AS $$
    SELECT NOT EXISTS (
        SELECT FROM (
            SELECT video_id FROM project_videos WHERE wave_id = p_wave
            ORDER BY video_id DESC OFFSET 0) m
        WHERE NOT member_ended(p_project, m.video_id))
$$;

-- Videos that a wave's dedup kept something of.
CREATE FUNCTION kept_videos(p_facts jsonb) RETURNS SETOF text
LANGUAGE sql IMMUTABLE AS $$
    SELECT k.key FROM jsonb_each_text(p_facts -> 'kept_by_video') k WHERE k.value::integer > 0
$$;

-- Whether every video that a wave keeps has been cut and labelled as far as it will ever be.
CREATE FUNCTION wave_labelled(p_project integer, p_wave integer) RETURNS boolean
LANGUAGE sql STABLE COST 10000 AS $$
    SELECT NOT EXISTS (
        SELECT FROM project_stages d
        JOIN project_stages c ON c.project_id = d.project_id AND c.stage = 'cut'
        JOIN results kept ON kept.recipe_id = d.recipe_id AND kept.subject = 'w' || p_wave
        CROSS JOIN LATERAL kept_videos(kept.facts) AS k (video_id)
        WHERE d.project_id = p_project AND d.stage = 'dedup'
          AND NOT EXISTS (
              SELECT FROM project_stages s
              JOIN results r ON r.recipe_id = s.recipe_id
                  AND r.subject = 'w' || p_wave || '/' || k.video_id
              WHERE s.project_id = p_project AND s.stage IN ('cut', 'detect')
                AND (r.outcome = 'skipped' OR r.frames = 0
                     OR NOT EXISTS (SELECT FROM project_stages next
                                    WHERE next.project_id = p_project AND next.stage = 'detect'
                                      AND s.stage = 'cut')))
          AND NOT EXISTS (
              SELECT FROM project_stages s
              JOIN tasks t ON t.recipe_id = s.recipe_id
                  AND t.subject = 'w' || p_wave || '/' || k.video_id
              WHERE s.project_id = p_project AND s.stage IN ('cut', 'detect')
                AND t.state = 'failed'))
$$;
