-- The two calls of earlier tools, over the same tasks and with the same fence.

-- Which stage it is that puts a video into an in-progress status, from the status before it.
CREATE FUNCTION stage_between(p_input_status text, p_in_progress_status text) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN CASE
        WHEN (p_input_status, p_in_progress_status) = ('PENDING', 'DOWNLOADING') THEN 'download'
        WHEN (p_input_status, p_in_progress_status) = ('DOWNLOADED', 'EXTRACTING') THEN 'extract'
        WHEN p_input_status IN ('PENDING', 'EXTRACTED')
            AND p_in_progress_status = 'FILTERING' THEN 'filter'
    END;
END $$;

-- Take the next video of a project (of any, with NULL) whose work leads from one status to the
-- other. No row when there is none.
CREATE FUNCTION claim_next_video(
    p_project_id integer, p_input_status text, p_in_progress_status text, p_worker_id text,
    p_lease interval DEFAULT interval '2 minutes')
RETURNS SETOF video_status
LANGUAGE plpgsql AS $$
DECLARE
    wanted text := stage_between(p_input_status, p_in_progress_status);
    picked bigint;
    got claimed_task;
BEGIN
    IF wanted IS NULL THEN
        RAISE EXCEPTION 'nothing leads from % to %', p_input_status, p_in_progress_status
            USING HINT = 'PENDING to DOWNLOADING, DOWNLOADED to EXTRACTING, '
                || 'PENDING or EXTRACTED to FILTERING';
    END IF;
    PERFORM queue_promote(200);
    LOOP
        SELECT t.id INTO picked
        FROM tasks t
        WHERE t.state = 'ready' AND t.lost_count < 2 AND t.stage = wanted
          AND EXISTS (SELECT FROM project_stages s
                      JOIN live_members m ON m.project_id = s.project_id
                      WHERE s.recipe_id = t.recipe_id AND m.video_id = t.video_id
                        AND NOT m.suspended
                        AND (p_project_id IS NULL OR s.project_id = p_project_id))
        ORDER BY t.priority DESC, t.id LIMIT 1
        FOR UPDATE OF t SKIP LOCKED;
        EXIT WHEN picked IS NULL;
        SELECT * INTO got FROM queue_grant(ARRAY[picked], p_worker_id, p_lease);
        IF got.id IS NOT NULL THEN
            RETURN QUERY SELECT * FROM video_status v WHERE v.video_id = got.video_id;
            EXIT;
        END IF;
    END LOOP;
END $$;

-- Let go of a video that this worker holds. DOWNLOADED, EXTRACTED, FILTERED and FILTERED_EMPTY end
-- the work that leads there, FAILED makes a dead letter, the status before the work hands it back.
-- p_updates are columns: video_path, frames_dir, frame_count, filtered_dir, passed_frames.
-- False when the worker holds no such work of this video: nothing has changed then.
CREATE FUNCTION release_video(
    p_video_id text, p_worker_id text, p_output_status text, p_updates jsonb DEFAULT '{}',
    p_first_wave integer DEFAULT 8)
RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    held tasks;
    ends text := CASE p_output_status
        WHEN 'DOWNLOADED' THEN 'download' WHEN 'EXTRACTED' THEN 'extract'
        WHEN 'FILTERED' THEN 'filter' WHEN 'FILTERED_EMPTY' THEN 'filter' END;
    frames integer;
BEGIN
    SELECT t.* INTO held FROM tasks t
    WHERE t.video_id = p_video_id AND t.claimed_by = p_worker_id AND t.wave_id IS NULL
      AND CASE p_output_status
              WHEN 'FAILED' THEN true
              WHEN 'PENDING' THEN t.stage IN ('download', 'filter')
              WHEN 'DOWNLOADED' THEN t.stage IN ('download', 'extract')
              WHEN 'EXTRACTED' THEN t.stage IN ('extract', 'filter')
              ELSE t.stage = ends
          END
    ORDER BY t.stage = ends DESC, t.id LIMIT 1
    FOR UPDATE;
    IF held.id IS NULL THEN
        RETURN false;
    END IF;
    IF p_output_status = 'FAILED' THEN
        PERFORM queue_fail(
            held.id, held.claim_seq, 'released', coalesce(p_updates ->> 'error', 'released as failed'),
            NULL, true, 1, interval '0', p_first_wave);
        RETURN true;
    ELSIF held.stage IS DISTINCT FROM ends THEN
        PERFORM queue_hand_back(ARRAY[held.id], ARRAY[held.claim_seq]);
        RETURN true;
    END IF;
    frames := CASE
        WHEN p_output_status = 'EXTRACTED' THEN (p_updates ->> 'frame_count')::integer
        WHEN p_output_status = 'FILTERED' THEN (p_updates ->> 'passed_frames')::integer
        WHEN p_output_status = 'FILTERED_EMPTY' THEN 0 END;
    PERFORM queue_finish(
        ARRAY[held.id], ARRAY[held.claim_seq], ARRAY['done'], ARRAY[NULL::text],
        ARRAY[jsonb_strip_nulls(p_updates || jsonb_build_object('frames', frames))],
        ARRAY['{}'::jsonb]);
    PERFORM plan_after(
        ARRAY[held.stage], ARRAY[held.subject::text], ARRAY[held.video_id::text],
        ARRAY[held.wave_id], ARRAY[held.project_id], p_first_wave);
    RETURN true;
END $$;
