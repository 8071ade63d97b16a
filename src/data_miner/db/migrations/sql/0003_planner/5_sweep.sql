-- Who wants each live task: not deleted projects whose spec has its recipe and whose waves have its
-- video. A suspended project still wants its tasks; they are only not handed out.
CREATE VIEW task_wishes AS
SELECT t.id, s.project_id, m.priority, m.suspended
FROM tasks t
JOIN project_stages s ON s.recipe_id = t.recipe_id
JOIN live_members m ON m.project_id = s.project_id AND m.video_id = t.video_id
WHERE t.video_id IS NOT NULL AND t.wave_id IS NULL
UNION ALL
SELECT t.id, w.project_id, w.priority, w.suspended
FROM tasks t
JOIN live_waves w ON w.wave_id = t.wave_id
JOIN project_stages s ON s.project_id = w.project_id AND s.recipe_id = t.recipe_id
WHERE t.wave_id IS NOT NULL
UNION ALL
SELECT t.id, l.project_id, l.priority, l.suspended
FROM tasks t
JOIN live_sources l ON l.recipe_id = t.recipe_id AND l.subject = t.subject
WHERE t.video_id IS NULL AND t.wave_id IS NULL;

-- Delete what nobody wants, running or not: its worker learns it at its next extend, and the fence
-- keeps it from writing. What another session is writing now is left to the next sweep, so this
-- waits for nobody. With p_project, only tasks that this project sponsors.
CREATE FUNCTION queue_cancel(p_project integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    cancelled integer;
BEGIN
    DELETE FROM tasks WHERE id = ANY (ARRAY(
        SELECT t.id FROM tasks t
        WHERE (p_project IS NULL OR t.project_id = p_project)
          AND NOT EXISTS (SELECT FROM task_wishes w WHERE w.id = t.id)
        FOR UPDATE OF t SKIP LOCKED));
    GET DIAGNOSTICS cancelled = ROW_COUNT;
    RETURN cancelled;
END $$;

-- The sponsor of a shared task is the most urgent active project that wants it.
CREATE FUNCTION queue_sponsor() RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    passed_on integer;
BEGIN
    WITH best AS (
        SELECT DISTINCT ON (w.id) w.id, w.project_id, w.priority
        FROM task_wishes w
        ORDER BY w.id, w.suspended, w.priority DESC, w.project_id),
    free AS (
        SELECT t.id FROM tasks t JOIN best b ON b.id = t.id
        WHERE (t.project_id, t.priority) IS DISTINCT FROM (b.project_id, b.priority)
        FOR UPDATE OF t SKIP LOCKED)
    UPDATE tasks t SET project_id = b.project_id, priority = b.priority
    FROM best b JOIN free f ON f.id = b.id
    WHERE t.id = b.id;
    GET DIAGNOSTICS passed_on = ROW_COUNT;
    RETURN passed_on;
END $$;

-- Tasks whose result is there already: a planner with an old snapshot made them.
CREATE FUNCTION queue_settle() RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    settled integer;
BEGIN
    DELETE FROM tasks WHERE id = ANY (ARRAY(
        SELECT t.id FROM tasks t
        JOIN results r ON r.recipe_id = t.recipe_id AND r.subject = t.subject
        WHERE t.state <> 'running' AND r.gone_at IS NULL
        FOR UPDATE OF t SKIP LOCKED));
    GET DIAGNOSTICS settled = ROW_COUNT;
    RETURN settled;
END $$;

-- Plan all stages of the waves given, in pipeline order.
CREATE FUNCTION plan_waves(p_waves integer[])
RETURNS TABLE (what text, amount integer)
LANGUAGE plpgsql AS $$
BEGIN
    what := 'dedup';
    amount := plan_dedups(p_waves);
    RETURN NEXT;
    what := 'cut';
    amount := plan_cuts(p_waves);
    RETURN NEXT;
    what := 'detect';
    amount := plan_detects(p_waves, ARRAY(
        SELECT r.subject FROM results r WHERE r.wave_id = ANY (p_waves) AND r.stage = 'cut'));
    RETURN NEXT;
    what := 'export';
    amount := plan_exports(p_waves);
    RETURN NEXT;
END $$;

-- Waves that may still lack something: those that are not exported, and all before them, because
-- an export reads what the earlier waves have made, and files can be lost.
CREATE VIEW unfinished_waves AS
SELECT w.wave_id, w.project_id
FROM (
    SELECT l.project_id, l.epoch, max(l.n) AS n FROM live_waves l
    WHERE NOT l.suspended
      AND NOT EXISTS (SELECT FROM project_stages s
                      JOIN results r ON r.recipe_id = s.recipe_id AND r.subject = 'w' || l.wave_id
                      WHERE s.project_id = l.project_id AND s.stage = 'export')
    GROUP BY l.project_id, l.epoch) last
JOIN waves w ON w.project_id = last.project_id AND w.epoch = last.epoch AND w.n <= last.n;

-- Plan everything that one project wants: after its spec changed or it was resumed.
CREATE FUNCTION plan_project(p_project integer, p_first_wave integer)
RETURNS TABLE (what text, amount integer)
LANGUAGE plpgsql AS $$
DECLARE
    next_stage text;
BEGIN
    what := 'discover';
    amount := plan_sources();
    RETURN NEXT;
    what := 'waves';
    amount := admit_waves(p_project, p_first_wave);
    RETURN NEXT;
    FOR next_stage IN SELECT s.stage FROM pipeline() s WHERE s.scope = 'video' ORDER BY s.place LOOP
        what := next_stage;
        amount := plan_project_videos(next_stage, p_project);
        RETURN NEXT;
    END LOOP;
    RETURN QUERY SELECT * FROM plan_waves(ARRAY(
        SELECT wave_id FROM unfinished_waves WHERE project_id = p_project));
END $$;

-- The safety net below all of it: whatever happened, afterwards the queue holds what specs and
-- facts call for. One session at a time; no rows when another one is at it.
CREATE FUNCTION sweep(p_first_wave integer)
RETURNS TABLE (what text, amount integer)
LANGUAGE plpgsql AS $$
DECLARE
    next_stage text;
BEGIN
    IF NOT pg_try_advisory_xact_lock(1684892008) THEN
        RETURN;
    END IF;
    what := 'settled';
    amount := queue_settle();
    RETURN NEXT;
    what := 'cancelled';
    amount := queue_cancel(NULL);
    RETURN NEXT;
    what := 'passed_on';
    amount := queue_sponsor();
    RETURN NEXT;
    what := 'discover';
    amount := plan_sources();
    RETURN NEXT;
    FOR next_stage IN SELECT s.stage FROM pipeline() s WHERE s.scope = 'video' ORDER BY s.place LOOP
        what := next_stage;
        amount := plan_all_videos(next_stage);
        RETURN NEXT;
    END LOOP;
    RETURN QUERY SELECT * FROM plan_waves(ARRAY(SELECT wave_id FROM unfinished_waves));
    what := 'waves';
    amount := admit_waves(NULL, p_first_wave);
    RETURN NEXT;
END $$;
