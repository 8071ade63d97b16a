-- One insert a stage: what is wanted and is neither done nor in hand. In the order of the key, so
-- that two planners never wait for each other in a circle.

CREATE FUNCTION plan_sources() RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    clock_now timestamptz := dataminer_now();
    planned integer;
BEGIN
    INSERT INTO tasks (stage, recipe_id, subject, project_id, priority, created_at)
    SELECT 'discover', w.recipe_id, w.subject, w.project_id, w.priority, clock_now
    FROM live_sources w
    WHERE NOT w.suspended
      AND NOT EXISTS (SELECT FROM results r
                      WHERE r.recipe_id = w.recipe_id AND r.subject = w.subject)
      AND NOT EXISTS (SELECT FROM tasks t
                      WHERE t.recipe_id = w.recipe_id AND t.subject = w.subject)
    ORDER BY w.recipe_id, w.subject
    ON CONFLICT (recipe_id, subject) DO NOTHING;
    GET DIAGNOSTICS planned = ROW_COUNT;
    RETURN planned;
END $$;

-- The same insert for everything, for some videos and for one project. The sponsor is the most
-- urgent project that wants it.
DO $generate$
DECLARE
    variant text[];
BEGIN
    FOREACH variant SLICE 1 IN ARRAY ARRAY[
        ['plan_all_videos', 'p_stage text', '', ''],
        ['plan_some_videos', 'p_stage text, p_videos text[]', 'AND w.video_id = ANY (p_videos)',
         'SET plan_cache_mode = force_generic_plan'],
        ['plan_project_videos', 'p_stage text, p_project integer',
         'AND w.project_id = p_project', '']]
    LOOP
        EXECUTE format($function$
CREATE FUNCTION %1$s(%2$s) RETURNS integer
LANGUAGE plpgsql %4$s AS $body$
DECLARE
    clock_now timestamptz := dataminer_now();
    planned integer;
BEGIN
    INSERT INTO tasks (stage, recipe_id, subject, project_id, video_id, priority, created_at)
    SELECT DISTINCT ON (w.recipe_id, w.video_id)
           w.stage, w.recipe_id, w.video_id, w.project_id, w.video_id, w.priority, clock_now
    FROM wanted_videos w
    WHERE w.stage = p_stage %3$s
      AND NOT EXISTS (
          SELECT FROM results r
          WHERE r.recipe_id = w.recipe_id AND r.subject = w.video_id
            AND (r.gone_at IS NULL OR r.outcome = 'skipped' OR r.frames = 0
                 OR NOT wanted_again(w.project_id, w.stage, w.video_id)))
      AND NOT EXISTS (SELECT FROM tasks t
                      WHERE t.recipe_id = w.recipe_id AND t.subject = w.video_id)
    ORDER BY w.recipe_id, w.video_id, w.priority DESC, w.project_id
    ON CONFLICT (recipe_id, subject) DO NOTHING;
    GET DIAGNOSTICS planned = ROW_COUNT;
    RETURN planned;
END $body$
        $function$, variant[1], variant[2], variant[3], variant[4]);
    END LOOP;
END $generate$;

-- A wave is gathered when its members have ended and the wave before it was gathered.
CREATE FUNCTION plan_dedups(p_waves integer[]) RETURNS integer
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    clock_now timestamptz := dataminer_now();
    planned integer;
BEGIN
    INSERT INTO tasks (stage, recipe_id, subject, project_id, wave_id, priority, created_at)
    SELECT 'dedup', c.recipe_id, c.subject, c.project_id, c.wave_id, c.priority, clock_now
    FROM (
        SELECT s.recipe_id, ('w' || w.wave_id) COLLATE "C" AS subject, w.project_id, w.wave_id,
               w.priority
        FROM live_waves w
        JOIN project_stages s ON s.project_id = w.project_id AND s.stage = 'dedup'
        WHERE w.wave_id = ANY (p_waves) AND NOT w.suspended
          AND NOT EXISTS (SELECT FROM results r
                          WHERE r.recipe_id = s.recipe_id AND r.subject = 'w' || w.wave_id)
          AND NOT EXISTS (SELECT FROM tasks t
                          WHERE t.recipe_id = s.recipe_id AND t.subject = 'w' || w.wave_id)
          AND (w.n = 1 OR EXISTS (
              SELECT FROM waves b
              JOIN results r ON r.recipe_id = s.recipe_id AND r.subject = 'w' || b.wave_id
              WHERE b.project_id = w.project_id AND b.epoch = w.epoch AND b.n = w.n - 1))
        OFFSET 0) c  -- the dear question last
    WHERE wave_ended(c.project_id, c.wave_id)
    ORDER BY c.recipe_id, c.subject
    ON CONFLICT (recipe_id, subject) DO NOTHING;
    GET DIAGNOSTICS planned = ROW_COUNT;
    RETURN planned;
END $$;

CREATE FUNCTION plan_cuts(p_waves integer[]) RETURNS integer
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    clock_now timestamptz := dataminer_now();
    planned integer;
BEGIN
    INSERT INTO tasks (
        stage, recipe_id, subject, project_id, video_id, wave_id, priority, created_at)
    SELECT 'cut', c.recipe_id, c.subject, c.project_id, c.video_id, c.wave_id, c.priority, clock_now
    FROM (
        SELECT s.recipe_id, ('w' || w.wave_id || '/' || k.video_id) COLLATE "C" AS subject,
               w.project_id, k.video_id COLLATE "C" AS video_id, w.wave_id, w.priority,
               source.recipe_id AS source_recipe_id
        FROM live_waves w
        JOIN project_stages s ON s.project_id = w.project_id AND s.stage = 'cut'
        JOIN project_stages source ON source.project_id = w.project_id
            AND source.stage = 'download'
        JOIN project_stages d ON d.project_id = w.project_id AND d.stage = 'dedup'
        JOIN results kept ON kept.recipe_id = d.recipe_id AND kept.subject = 'w' || w.wave_id
        CROSS JOIN LATERAL kept_videos(kept.facts) AS k (video_id)
        WHERE w.wave_id = ANY (p_waves) AND NOT w.suspended
        OFFSET 0) c
    WHERE NOT EXISTS (SELECT FROM results r
                      WHERE r.recipe_id = c.recipe_id AND r.subject = c.subject)
      AND NOT EXISTS (SELECT FROM tasks t
                      WHERE t.recipe_id = c.recipe_id AND t.subject = c.subject)
      -- Retention may have taken the source: then it is fetched again first.
      AND EXISTS (SELECT FROM results r
                  WHERE r.recipe_id = c.source_recipe_id AND r.subject = c.video_id
                    AND r.gone_at IS NULL)
    ORDER BY c.recipe_id, c.subject
    ON CONFLICT (recipe_id, subject) DO NOTHING;
    GET DIAGNOSTICS planned = ROW_COUNT;
    RETURN planned;
END $$;

-- Detection of what was cut; p_subjects are the cuts to look at.
CREATE FUNCTION plan_detects(p_waves integer[], p_subjects text[]) RETURNS integer
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    clock_now timestamptz := dataminer_now();
    planned integer;
BEGIN
    INSERT INTO tasks (
        stage, recipe_id, subject, project_id, video_id, wave_id, priority, created_at)
    SELECT 'detect', s.recipe_id, i.subject, w.project_id, i.video_id, w.wave_id, w.priority,
           clock_now
    FROM live_waves w
    JOIN project_stages s ON s.project_id = w.project_id AND s.stage = 'detect'
    JOIN project_stages u ON u.project_id = w.project_id AND u.stage = 'cut'
    JOIN results i ON i.recipe_id = u.recipe_id AND i.wave_id = w.wave_id
        AND i.subject = ANY (p_subjects) AND i.outcome = 'done' AND i.frames IS DISTINCT FROM 0
    WHERE w.wave_id = ANY (p_waves) AND NOT w.suspended
      AND NOT EXISTS (SELECT FROM results r
                      WHERE r.recipe_id = s.recipe_id AND r.subject = i.subject)
      AND NOT EXISTS (SELECT FROM tasks t
                      WHERE t.recipe_id = s.recipe_id AND t.subject = i.subject)
    ORDER BY s.recipe_id, i.subject
    ON CONFLICT (recipe_id, subject) DO NOTHING;
    GET DIAGNOSTICS planned = ROW_COUNT;
    RETURN planned;
END $$;

-- A wave is exported when all that it keeps is labelled and the wave before it was exported.
CREATE FUNCTION plan_exports(p_waves integer[]) RETURNS integer
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    clock_now timestamptz := dataminer_now();
    planned integer;
BEGIN
    INSERT INTO tasks (stage, recipe_id, subject, project_id, wave_id, priority, created_at)
    SELECT 'export', c.recipe_id, c.subject, c.project_id, c.wave_id, c.priority, clock_now
    FROM (
        SELECT s.recipe_id, ('w' || w.wave_id) COLLATE "C" AS subject, w.project_id, w.wave_id,
               w.priority
        FROM live_waves w
        JOIN project_stages s ON s.project_id = w.project_id AND s.stage = 'export'
        JOIN project_stages d ON d.project_id = w.project_id AND d.stage = 'dedup'
        JOIN results kept ON kept.recipe_id = d.recipe_id AND kept.subject = 'w' || w.wave_id
        WHERE w.wave_id = ANY (p_waves) AND NOT w.suspended
          AND NOT EXISTS (SELECT FROM results r
                          WHERE r.recipe_id = s.recipe_id AND r.subject = 'w' || w.wave_id)
          AND NOT EXISTS (SELECT FROM tasks t
                          WHERE t.recipe_id = s.recipe_id AND t.subject = 'w' || w.wave_id)
          AND (w.n = 1 OR EXISTS (
              SELECT FROM waves b
              JOIN results r ON r.recipe_id = s.recipe_id AND r.subject = 'w' || b.wave_id
              WHERE b.project_id = w.project_id AND b.epoch = w.epoch AND b.n = w.n - 1))
        OFFSET 0) c
    WHERE wave_labelled(c.project_id, c.wave_id)
    ORDER BY c.recipe_id, c.subject
    ON CONFLICT (recipe_id, subject) DO NOTHING;
    GET DIAGNOSTICS planned = ROW_COUNT;
    RETURN planned;
END $$;
