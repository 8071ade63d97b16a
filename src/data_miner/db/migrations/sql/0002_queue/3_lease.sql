-- Leases: one statement extends all that a worker holds; what does not come back is lost.
CREATE FUNCTION queue_extend(
    p_ids bigint[], p_seqs integer[], p_progress real[], p_messages text[], p_lease interval)
RETURNS SETOF bigint
LANGUAGE plpgsql AS $$
DECLARE
    clock_now timestamptz := dataminer_now();
BEGIN
    RETURN QUERY
    UPDATE tasks t
    SET lease_until = clock_now + p_lease, heartbeat_at = clock_now,
        progress = coalesce(g.progress, t.progress), message = coalesce(g.message, t.message)
    FROM unnest(p_ids, p_seqs, p_progress, p_messages) AS g (id, seq, progress, message)
    WHERE t.id = g.id AND t.claim_seq = g.seq AND t.claimed_by IS NOT NULL
    RETURNING t.id;
END $$;

-- What a later attempt may continue from. True when the task was ours.
CREATE FUNCTION queue_checkpoint(p_id bigint, p_seq integer, p_value jsonb) RETURNS boolean
LANGUAGE sql AS $$
    WITH written AS (
        UPDATE tasks SET checkpoint = p_value
        WHERE id = p_id AND claim_seq = p_seq AND claimed_by IS NOT NULL
        RETURNING id)
    SELECT EXISTS (SELECT FROM written)
$$;

-- Tasks whose worker has vanished: uses a loss, not an attempt. They come back after a short while
-- that doubles, or become dead letters when p_max_losses workers are gone.
CREATE FUNCTION queue_rescue(
    p_max_losses integer, p_backoff interval, p_backoff_max interval, p_first_wave integer)
RETURNS TABLE (id bigint, stage text, worker_id text, state text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    clock_now timestamptz := dataminer_now();
    expired tasks;
    became text;
    dead tasks[] := '{}';
BEGIN
    FOR expired IN
        SELECT t.* FROM tasks t
        WHERE t.state = 'running' AND t.lease_until < clock_now
        ORDER BY t.id FOR UPDATE SKIP LOCKED
    LOOP
        became := CASE WHEN expired.lost_count + 1 >= p_max_losses
                       THEN 'failed' ELSE 'waiting' END;
        UPDATE tasks t
        SET lost_count = t.lost_count + 1, state = became, error_class = 'lost',
            error = 'worker ' || t.claimed_by || ' was not heard of again',
            claimed_by = NULL, claimed_at = NULL, lease_until = NULL, heartbeat_at = NULL,
            progress = NULL, message = NULL, step = NULL, eta = NULL,
            run_at = CASE WHEN became = 'waiting' THEN
                clock_now + least(p_backoff * power(2, least(t.lost_count, 30)), p_backoff_max)
                END
        WHERE t.id = expired.id;
        id := expired.id;
        stage := expired.stage;
        worker_id := expired.claimed_by;
        state := became;
        RETURN NEXT;
        IF became = 'failed' THEN
            dead := dead || expired;
        END IF;
    END LOOP;
    -- Once for all of them: waves are locked in one order only.
    IF dead <> '{}' THEN
        PERFORM plan_after(
            array_agg(d.stage), array_agg(d.subject::text), array_agg(d.video_id::text),
            array_agg(d.wave_id), array_agg(d.project_id), p_first_wave)
        FROM unnest(dead) AS d;
    END IF;
END $$;

-- A dead letter gets both budgets anew. Returns the ids that were dead.
CREATE FUNCTION queue_retry(p_ids bigint[]) RETURNS SETOF bigint
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM tasks WHERE id = ANY (p_ids) ORDER BY id FOR UPDATE;
    RETURN QUERY
    UPDATE tasks t
    SET state = 'ready', attempt = 0, lost_count = 0
    WHERE t.id = ANY (p_ids) AND t.state = 'failed'
    RETURNING t.id;
END $$;

-- When the next put-off task is due, in seconds from now; NULL when none is put off. A worker
-- sleeps no longer than this.
CREATE FUNCTION queue_seconds_to_next_run() RETURNS double precision
LANGUAGE sql STABLE AS $$
    SELECT greatest(0, extract(epoch FROM next.run_at - dataminer_now()))
    FROM (SELECT run_at FROM tasks WHERE state = 'waiting' ORDER BY run_at LIMIT 1) next
$$;
