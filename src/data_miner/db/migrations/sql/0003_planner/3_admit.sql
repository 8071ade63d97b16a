-- Admission of the videos that were found into waves of a decided order. Which video is in which
-- wave depends on what was found and on nothing's timing; timing decides only when a wave opens.

-- Whether the next wave may open: all sources have been looked through, at least one with success,
-- the target is not reached, videos are left, and no work of the open waves waits for a worker.
CREATE FUNCTION admission_due(p_project integer) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
DECLARE
    p projects;
BEGIN
    SELECT * INTO p FROM projects WHERE project_id = p_project;
    IF p.project_id IS NULL OR p.suspended OR p.deleted_at IS NOT NULL THEN
        RETURN false;
    END IF;
    IF NOT EXISTS (SELECT FROM project_videos m
                   WHERE m.project_id = p_project AND m.wave_id IS NULL AND m.skip_reason IS NULL)
       AND NOT EXISTS (SELECT FROM waves w JOIN project_videos m ON m.wave_id = w.wave_id
                       WHERE w.project_id = p_project AND w.epoch <> p.wave_epoch) THEN
        RETURN false;
    END IF;
    IF EXISTS (SELECT FROM project_stages s
               JOIN tasks t ON t.recipe_id = s.recipe_id AND t.state IN ('ready', 'waiting')
               JOIN project_videos m ON m.project_id = s.project_id AND m.video_id = t.subject
               JOIN waves w ON w.wave_id = m.wave_id AND w.epoch = p.wave_epoch
               WHERE s.project_id = p_project
                 AND s.stage IN ('download', 'extract', 'embed', 'filter', 'dedup_embed')) THEN
        RETURN false;
    END IF;
    IF EXISTS (SELECT FROM live_sources s
               WHERE s.project_id = p_project
                 AND NOT EXISTS (SELECT FROM results r
                                 WHERE r.recipe_id = s.recipe_id AND r.subject = s.subject)
                 AND NOT EXISTS (SELECT FROM tasks t
                                 WHERE t.recipe_id = s.recipe_id AND t.subject = s.subject
                                   AND t.state = 'failed'))
       OR NOT EXISTS (SELECT FROM live_sources s
                      JOIN results r ON r.recipe_id = s.recipe_id AND r.subject = s.subject
                      WHERE s.project_id = p_project AND r.outcome = 'done') THEN
        RETURN false;
    END IF;
    RETURN p.target_images IS NULL
        OR images_before(p_project, p.wave_epoch, 2147483647) < p.target_images;
END $$;

-- Open the next wave: p_first videos for the first one, twice as many each time. A video that is
-- late for its wave (it left one to be tried again, or its source was) joins beside those.
-- Returns the wave; NULL when no video is left.
CREATE FUNCTION open_wave(p_project integer, p_first integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    present_epoch integer;
    number integer;
    new_wave integer;
    members text[];
BEGIN
    SELECT wave_epoch INTO present_epoch FROM projects WHERE project_id = p_project;
    SELECT coalesce(max(n), 0) + 1 INTO number
    FROM waves WHERE project_id = p_project AND epoch = present_epoch;

    WITH found AS (
        SELECT f.video_id, m.wave_id,
               row_number() OVER (ORDER BY min(ARRAY[f.rank, f.source_index]), f.video_id) - 1
                   AS place
        FROM project_sources f
        JOIN project_stages s ON s.project_id = f.project_id AND s.stage = 'discover'
            AND s.recipe_id = f.recipe_id
        JOIN project_videos m ON m.project_id = f.project_id AND m.video_id = f.video_id
        WHERE f.project_id = p_project AND m.skip_reason IS NULL
        GROUP BY f.video_id, m.wave_id),
    outside AS (
        SELECT f.video_id, f.place FROM found f
        LEFT JOIN waves w ON w.wave_id = f.wave_id AND w.epoch = present_epoch
        WHERE w.wave_id IS NULL)
    SELECT array_agg(o.video_id ORDER BY o.place) INTO members
    FROM outside o
    WHERE o.place < greatest(
        p_first * (power(2, least(number, 40)) - 1),
        (SELECT min(place) FROM outside) + p_first * power(2, least(number, 40) - 1));

    IF members IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO waves (project_id, epoch, n) VALUES (p_project, present_epoch, number)
    RETURNING wave_id INTO new_wave;
    UPDATE project_videos m SET wave_id = new_wave, wave_position = o.place - 1
    FROM unnest(members) WITH ORDINALITY AS o (video_id, place)
    WHERE m.project_id = p_project AND m.video_id = o.video_id;
    RETURN new_wave;
END $$;

-- One session admits at a time; the key is of this purpose alone.
CREATE FUNCTION admission_lock() RETURNS integer
LANGUAGE sql IMMUTABLE RETURN 1684892007;

-- For a caller that holds the lock: open waves until there is work for somebody. Returns how many.
CREATE FUNCTION admit_locked(p_project integer, p_first integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    opened integer := 0;
    new_wave integer;
    member_ids text[];
    next_stage text;
BEGIN
    WHILE admission_due(p_project) LOOP
        new_wave := open_wave(p_project, p_first);
        EXIT WHEN new_wave IS NULL;
        opened := opened + 1;
        member_ids := ARRAY(SELECT video_id FROM project_videos WHERE wave_id = new_wave);
        -- Every stage: what another project has made already need not be waited for.
        FOR next_stage IN SELECT stage FROM pipeline() WHERE scope = 'video' ORDER BY place LOOP
            PERFORM plan_some_videos(next_stage, member_ids);
        END LOOP;
        PERFORM plan_dedups(ARRAY[new_wave]);
    END LOOP;
    RETURN opened;
END $$;

-- Open what may open, for one project or, with NULL, for all. Returns the number of new waves.
-- Waits for nobody: while another session admits, it is 0, and a later call finds what is left.
CREATE FUNCTION admit_waves(p_project integer, p_first integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    due integer;
    opened integer := 0;
BEGIN
    -- Asked before the lock too: nearly always the answer is no.
    FOR due IN
        SELECT project_id FROM projects
        WHERE (p_project IS NULL OR project_id = p_project)
          AND NOT suspended AND deleted_at IS NULL AND admission_due(project_id)
        ORDER BY project_id
    LOOP
        EXIT WHEN NOT pg_try_advisory_xact_lock(admission_lock());
        opened := opened + admit_locked(due, p_first);
    END LOOP;
    RETURN opened;
END $$;
