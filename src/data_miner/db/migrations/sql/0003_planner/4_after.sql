-- Planning in the transaction that ended tasks. The arrays are parallel, one entry a task.
-- Returns the stages that got new work and how much.
CREATE FUNCTION plan_after(
    p_stages text[], p_subjects text[], p_videos text[], p_waves integer[], p_projects integer[],
    p_first_wave integer)
RETURNS TABLE (stage text, planned integer)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    next_stage text;
    videos_ended text[] := ARRAY(
        SELECT DISTINCT e.video_id FROM unnest(p_stages, p_videos) AS e (stage, video_id)
        JOIN pipeline() s ON s.stage = e.stage AND s.scope = 'video');
    cuts_ended text[] := ARRAY(
        SELECT DISTINCT e.subject FROM unnest(p_stages, p_subjects) AS e (stage, subject)
        WHERE e.stage = 'cut');
    waves_gathered integer[] := ARRAY(
        SELECT DISTINCT e.wave_id FROM unnest(p_stages, p_waves) AS e (stage, wave_id)
        WHERE e.stage = 'dedup');
    gathered integer[] := '{}';
    touched integer[];
    project integer;
    opened integer := 0;
BEGIN
    IF videos_ended <> '{}' THEN
        FOR next_stage IN
            SELECT s.stage FROM pipeline() s
            WHERE s.scope = 'video' AND s.reads && p_stages ORDER BY s.place
        LOOP
            stage := next_stage;
            planned := plan_some_videos(next_stage, videos_ended);
            RETURN NEXT;
        END LOOP;
        gathered := ARRAY(
            SELECT m.wave_id FROM live_members m
            WHERE m.video_id = ANY (videos_ended) AND member_ended(m.project_id, m.video_id));
    END IF;

    -- Whoever ends the last member, or the last cut, of a wave must see the ends of the others, and
    -- the end of the wave before it. So these waves are locked first, and what is wanted is asked
    -- in the next statement: it has a snapshot of its own, with what those before us in the lock
    -- have committed.
    touched := ARRAY(
        SELECT w.wave_id FROM waves w
        WHERE w.wave_id = ANY (gathered || p_waves || ARRAY(
            SELECT later.wave_id
            FROM unnest(p_stages, p_waves) AS e (stage, wave_id)
            JOIN waves b ON b.wave_id = e.wave_id
            JOIN waves later ON later.project_id = b.project_id AND later.epoch = b.epoch
                AND later.n = b.n + 1
            WHERE e.stage IN ('dedup', 'export')))
        ORDER BY w.wave_id FOR NO KEY UPDATE);

    IF touched <> '{}' THEN
        stage := 'dedup';
        planned := plan_dedups(touched);
        RETURN NEXT;
        stage := 'cut';
        planned := plan_cuts(waves_gathered || gathered);
        RETURN NEXT;
        IF waves_gathered <> '{}' THEN
            stage := 'download';  -- of sources that retention took and that are to be cut now
            planned := plan_some_videos('download', ARRAY(
                SELECT k.video_id FROM results r CROSS JOIN kept_videos(r.facts) AS k (video_id)
                WHERE r.wave_id = ANY (waves_gathered) AND r.stage = 'dedup'));
            RETURN NEXT;
        END IF;
        stage := 'detect';
        planned := plan_detects(touched, cuts_ended);
        RETURN NEXT;
        stage := 'export';
        planned := plan_exports(touched);
        RETURN NEXT;
    END IF;

    -- A target that is reached now ends the work on all later waves now.
    FOR project IN
        SELECT p.project_id FROM projects p
        WHERE p.target_images <= images_before(p.project_id, p.wave_epoch, 2147483647)
          AND p.project_id IN (SELECT w.project_id FROM waves w
                               WHERE w.wave_id = ANY (waves_gathered))
        ORDER BY 1
    LOOP
        PERFORM queue_cancel(project);
        PERFORM queue_sponsor();
    END LOOP;

    FOR project IN
        SELECT m.project_id FROM live_members m
        WHERE m.video_id = ANY (videos_ended) AND NOT m.suspended
        UNION
        SELECT e.project_id FROM unnest(p_stages, p_projects) AS e (stage, project_id)
        WHERE e.stage = 'discover'
        ORDER BY 1
    LOOP
        opened := opened + admit_waves(project, p_first_wave);
    END LOOP;
    IF opened > 0 THEN
        stage := 'download';  -- where a new wave begins
        planned := opened;
        RETURN NEXT;
    END IF;
END $$;
