-- Claiming. READ COMMITTED only: each statement of these functions must see what others committed.

-- Put-off work becomes ready when it is due, so that the ready index holds only what can be
-- claimed. One index probe when nothing is due.
CREATE FUNCTION queue_promote(p_limit integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    clock_now timestamptz := dataminer_now();
    promoted integer;
BEGIN
    UPDATE tasks SET state = 'ready', run_at = NULL
    WHERE id = ANY (ARRAY(
        SELECT id FROM tasks WHERE state = 'waiting' AND run_at <= clock_now
        ORDER BY run_at LIMIT p_limit FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS promoted = ROW_COUNT;
    RETURN promoted;
END $$;

-- Ids of up to p_limit ready tasks of one stage, locked, in fair order: of the next p_look projects
-- behind the cursor p_after, those with the least running work for their weight come first, then
-- the cursor's order; inside a project priority, then age.
CREATE FUNCTION queue_pick(p_stage text, p_limit integer, p_after integer, p_look integer)
RETURNS bigint[]
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    picked bigint[];
BEGIN
    WITH RECURSIVE
    -- A skip-scan: one index probe for each project that has ready work, not one for each task.
    ahead (project_id, place) AS (
        (SELECT t.project_id, 1 FROM tasks t
         WHERE t.state = 'ready' AND t.lost_count < 2 AND t.stage = p_stage
           AND t.project_id > p_after
         ORDER BY t.project_id LIMIT 1)
        UNION ALL
        SELECT x.project_id, a.place + 1
        FROM ahead a
        CROSS JOIN LATERAL (
            SELECT t.project_id FROM tasks t
            WHERE t.state = 'ready' AND t.lost_count < 2 AND t.stage = p_stage
              AND t.project_id > a.project_id
            ORDER BY t.project_id LIMIT 1) x
        WHERE a.place < p_look),
    around (project_id, place) AS (
        (SELECT t.project_id, 1 FROM tasks t
         WHERE t.state = 'ready' AND t.lost_count < 2 AND t.stage = p_stage
           AND t.project_id <= p_after AND (SELECT count(*) FROM ahead) < p_look
         ORDER BY t.project_id LIMIT 1)
        UNION ALL
        SELECT x.project_id, a.place + 1
        FROM around a
        CROSS JOIN LATERAL (
            SELECT t.project_id FROM tasks t
            WHERE t.state = 'ready' AND t.lost_count < 2 AND t.stage = p_stage
              AND t.project_id > a.project_id AND t.project_id <= p_after
            ORDER BY t.project_id LIMIT 1) x
        WHERE a.place < p_look - (SELECT count(*) FROM ahead)),
    candidates AS (
        SELECT project_id, place FROM ahead
        UNION ALL
        SELECT project_id, 1000000 + place FROM around),
    loads AS (
        SELECT c.project_id, c.place, p.weight,
               (SELECT count(*) FROM tasks t
                WHERE t.state = 'running' AND t.stage = p_stage
                  AND t.project_id = c.project_id) AS running
        FROM candidates c JOIN projects p ON p.project_id = c.project_id
        WHERE NOT p.suspended AND p.deleted_at IS NULL),
    -- No more than p_limit projects can be served, so no others need to be ranked grant by grant.
    nearest AS (
        SELECT * FROM loads ORDER BY floor(running / weight), place LIMIT p_limit),
    grants AS (
        SELECT n.project_id, n.place
        FROM nearest n CROSS JOIN generate_series(0, p_limit - 1) AS extra
        ORDER BY floor((n.running + extra) / n.weight), n.place LIMIT p_limit),
    quotas AS (
        SELECT project_id, count(*)::integer AS quota FROM grants GROUP BY project_id)
    SELECT array_agg(task.id) INTO picked
    FROM quotas q
    CROSS JOIN LATERAL (
        SELECT t.id FROM tasks t
        WHERE t.state = 'ready' AND t.lost_count < 2 AND t.stage = p_stage
          AND t.project_id = q.project_id
        ORDER BY t.priority DESC, t.id LIMIT q.quota
        FOR UPDATE SKIP LOCKED) task;
    RETURN picked;
END $$;

-- What a claim gives: the fencing token (id, claim_seq) and what names the work.
CREATE TYPE claimed_task AS (
    id bigint, claim_seq integer, stage text, recipe_id integer, subject text,
    project_id integer, video_id text, wave_id integer, attempt integer, lost_count integer,
    checkpoint jsonb, weight real);

-- Hand locked rows to a worker. A task whose result is already there (a planner with an old
-- snapshot made it) is settled instead, so that nothing is done twice.
CREATE FUNCTION queue_grant(p_ids bigint[], p_worker text, p_lease interval)
RETURNS SETOF claimed_task
LANGUAGE plpgsql AS $$
DECLARE
    clock_now timestamptz := dataminer_now();
BEGIN
    DELETE FROM tasks t USING results r
    WHERE t.id = ANY (p_ids) AND r.recipe_id = t.recipe_id AND r.subject = t.subject
      AND r.gone_at IS NULL;
    RETURN QUERY
    WITH granted AS (
        UPDATE tasks t
        SET state = 'running', claim_seq = t.claim_seq + 1, claimed_by = p_worker,
            claimed_at = clock_now, heartbeat_at = clock_now, lease_until = clock_now + p_lease,
            started_at = coalesce(t.started_at, clock_now),
            progress = NULL, message = NULL, step = NULL, eta = NULL
        WHERE t.id = ANY (p_ids)
        RETURNING t.*)
    SELECT g.id, g.claim_seq, g.stage, g.recipe_id, g.subject::text, g.project_id,
           g.video_id::text, g.wave_id, g.attempt, g.lost_count, g.checkpoint, p.weight
    FROM granted g JOIN projects p ON p.project_id = g.project_id
    ORDER BY g.id;
END $$;

-- Fair claim over several stages in the order given, never more than p_limit tasks in all.
CREATE FUNCTION queue_claim(
    p_stages text[], p_after integer[], p_limit integer, p_worker text, p_lease interval,
    p_look integer)
RETURNS SETOF claimed_task
LANGUAGE plpgsql AS $$
DECLARE
    free integer := p_limit;
    picked bigint[];
    granted integer;
BEGIN
    IF free <= 0 THEN
        RETURN;
    END IF;
    PERFORM queue_promote(200);
    FOR i IN 1 .. coalesce(cardinality(p_stages), 0) LOOP
        picked := queue_pick(p_stages[i], free, p_after[i], p_look);
        CONTINUE WHEN picked IS NULL;
        RETURN QUERY SELECT * FROM queue_grant(picked, p_worker, p_lease);
        GET DIAGNOSTICS granted = ROW_COUNT;
        free := free - granted;
        EXIT WHEN free <= 0;
    END LOOP;
END $$;

-- One task that has lost two workers or more, for a worker that holds nothing else: if its input
-- is poison, it harms no neighbour.
CREATE FUNCTION queue_claim_suspect(p_stages text[], p_worker text, p_lease interval)
RETURNS SETOF claimed_task
LANGUAGE plpgsql AS $$
DECLARE
    picked bigint;
BEGIN
    PERFORM queue_promote(200);
    IF EXISTS (SELECT FROM tasks WHERE state = 'running' AND claimed_by = p_worker) THEN
        RETURN;
    END IF;
    SELECT t.id INTO picked
    FROM tasks t JOIN projects p ON p.project_id = t.project_id
    WHERE t.state = 'ready' AND t.lost_count >= 2 AND t.stage = ANY (p_stages)
      AND NOT p.suspended AND p.deleted_at IS NULL
    ORDER BY t.id LIMIT 1
    FOR UPDATE OF t SKIP LOCKED;
    IF picked IS NOT NULL THEN
        RETURN QUERY SELECT * FROM queue_grant(ARRAY[picked], p_worker, p_lease);
    END IF;
END $$;
