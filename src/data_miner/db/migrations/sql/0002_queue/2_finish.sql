-- Ends of a run. Every write is fenced by (id, claim_seq); `claimed_by IS NOT NULL` rather than the
-- state, so that stale statistics cannot turn the probe by id into a scan of the running ones.

-- The task goes, its result stays. Returns the tasks that were really ours.
CREATE FUNCTION queue_finish(
    p_ids bigint[], p_seqs integer[], p_outcomes text[], p_reasons text[], p_facts jsonb[],
    p_costs jsonb[])
RETURNS SETOF bigint
LANGUAGE plpgsql AS $$
DECLARE
    clock_now timestamptz := dataminer_now();
BEGIN
    -- What is about a project's own sources and waves ends before somebody deletes or edits the
    -- project, or after it, and then not at all: nothing may be left of a project that is gone.
    -- Before the tasks, as everyone who changes a project locks it first.
    PERFORM FROM projects WHERE project_id IN (
        SELECT t.project_id FROM tasks t
        WHERE t.id = ANY (p_ids) AND (t.video_id IS NULL OR t.wave_id IS NOT NULL))
    ORDER BY project_id FOR SHARE;
    -- In the order of ids, as everyone who locks more than one task and waits for it.
    PERFORM FROM tasks WHERE id = ANY (p_ids) ORDER BY id FOR UPDATE;
    RETURN QUERY
    WITH given AS (
        SELECT * FROM unnest(p_ids, p_seqs, p_outcomes, p_reasons, p_facts, p_costs)
            AS g (id, seq, outcome, reason, facts, cost)),
    ended AS (
        DELETE FROM tasks t USING given g
        WHERE t.id = g.id AND t.claim_seq = g.seq AND t.claimed_by IS NOT NULL
          AND (t.video_id IS NOT NULL AND t.wave_id IS NULL OR EXISTS (
              SELECT FROM projects p WHERE p.project_id = t.project_id AND p.deleted_at IS NULL))
        RETURNING t.*, g.outcome, g.reason, g.facts, g.cost),
    kept AS (
        INSERT INTO results AS r (
            recipe_id, subject, stage, project_id, video_id, wave_id, outcome, reason, frames,
            facts, cost, attempts, started_at, finished_at, processed_by)
        SELECT e.recipe_id, e.subject, e.stage, e.project_id, e.video_id, e.wave_id, e.outcome,
               e.reason, (e.facts ->> 'frames')::integer, e.facts, e.cost, e.attempt + 1,
               e.claimed_at, clock_now, e.claimed_by
        FROM ended e
        ORDER BY e.recipe_id, e.subject
        -- Only a result whose files were collected is ever made again.
        ON CONFLICT (recipe_id, subject) DO UPDATE SET
            outcome = excluded.outcome, reason = excluded.reason, frames = excluded.frames,
            facts = excluded.facts, cost = excluded.cost, attempts = excluded.attempts,
            started_at = excluded.started_at, finished_at = excluded.finished_at,
            processed_by = excluded.processed_by, project_id = excluded.project_id,
            gone_at = NULL)
    SELECT e.id FROM ended e;
END $$;

-- A failure of the stage: uses an attempt. The last one, or a permanent one, makes a dead letter,
-- which ends its video or its cut, so what that was holding up is planned here.
-- Returns the new state; NULL when the task was not ours.
CREATE FUNCTION queue_fail(
    p_id bigint, p_seq integer, p_class text, p_error text, p_trace text, p_permanent boolean,
    p_max_attempts integer, p_delay interval, p_first_wave integer)
RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    clock_now timestamptz := dataminer_now();
    t tasks;
BEGIN
    UPDATE tasks
    SET attempt = attempt + 1, error_class = p_class, error = p_error, trace = p_trace,
        claimed_by = NULL, claimed_at = NULL, lease_until = NULL, heartbeat_at = NULL,
        progress = NULL, message = NULL, step = NULL, eta = NULL,
        state = CASE WHEN p_permanent OR attempt + 1 >= p_max_attempts
                     THEN 'failed' ELSE 'waiting' END,
        run_at = CASE WHEN p_permanent OR attempt + 1 >= p_max_attempts
                      THEN NULL ELSE clock_now + p_delay END
    WHERE id = p_id AND claim_seq = p_seq AND claimed_by IS NOT NULL
    RETURNING * INTO t;
    IF t.state = 'failed' THEN
        PERFORM plan_after(ARRAY[t.stage], ARRAY[t.subject], ARRAY[t.video_id],
                           ARRAY[t.wave_id], ARRAY[t.project_id], p_first_wave);
    END IF;
    RETURN t.state;
END $$;

-- Not now, and nobody's fault: uses no attempt. True when the task was ours.
CREATE FUNCTION queue_later(p_id bigint, p_seq integer, p_delay interval, p_class text, p_error text)
RETURNS boolean
LANGUAGE sql AS $$
    WITH put_off AS (
        UPDATE tasks
        SET state = 'waiting', run_at = dataminer_now() + p_delay, error_class = p_class,
            error = p_error, claimed_by = NULL, claimed_at = NULL, lease_until = NULL,
            heartbeat_at = NULL, progress = NULL, message = NULL, step = NULL, eta = NULL
        WHERE id = p_id AND claim_seq = p_seq AND claimed_by IS NOT NULL
        RETURNING id)
    SELECT EXISTS (SELECT FROM put_off)
$$;

-- A worker that stops gives its tasks back: no attempt, no loss. Returns those that were ours.
CREATE FUNCTION queue_hand_back(p_ids bigint[], p_seqs integer[]) RETURNS SETOF bigint
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM tasks WHERE id = ANY (p_ids) ORDER BY id FOR UPDATE;
    RETURN QUERY
    UPDATE tasks t
    SET state = 'ready', claimed_by = NULL, claimed_at = NULL, lease_until = NULL,
        heartbeat_at = NULL, progress = NULL, message = NULL, step = NULL, eta = NULL
    FROM unnest(p_ids, p_seqs) AS g (id, seq)
    WHERE t.id = g.id AND t.claim_seq = g.seq AND t.claimed_by IS NOT NULL
    RETURNING t.id;
END $$;
