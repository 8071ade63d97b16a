-- What an edit, a stop or the end of one project changes for live tasks, without a look at those of
-- all others: a thousand projects may have a million.

CREATE INDEX tasks_project_id ON tasks (project_id);

-- Delete the tasks of this project that nobody wants, running or not, and give every task that it
-- sponsors or wants to the most urgent active project that wants it. As queue_cancel and
-- queue_sponsor do for all: what another session is writing is left to the next sweep.
CREATE FUNCTION queue_tidy(p_project integer, OUT cancelled integer, OUT passed_on integer)
LANGUAGE plpgsql AS $$
DECLARE
    unwanted bigint[];
    given bigint[];
    givers integer[];
    priorities integer[];
BEGIN
    WITH
    -- Its own, and those of its videos that others sponsor.
    mine AS MATERIALIZED (
        SELECT t.id, t.recipe_id, t.subject, t.video_id, t.wave_id, t.project_id, t.priority
        FROM tasks t WHERE t.project_id = p_project
        UNION ALL
        SELECT t.id, t.recipe_id, t.subject, t.video_id, t.wave_id, t.project_id, t.priority
        FROM project_videos m JOIN tasks t ON t.video_id = m.video_id
        WHERE m.project_id = p_project AND m.wave_id IS NOT NULL
          AND t.wave_id IS NULL AND t.project_id <> p_project),
    holders AS MATERIALIZED (
        SELECT t.id, t.recipe_id, m.project_id, m.wave_id
        FROM mine t JOIN project_videos m ON m.video_id = t.video_id
        WHERE t.wave_id IS NULL AND m.wave_id IS NOT NULL),
    counted AS MATERIALIZED (
        SELECT w.wave_id, w.project_id, w.priority, w.suspended FROM live_waves w
        WHERE w.wave_id IN (SELECT wave_id FROM holders
                            UNION SELECT wave_id FROM mine WHERE wave_id IS NOT NULL)),
    wishes AS MATERIALIZED (
        SELECT h.id, w.project_id, w.priority, w.suspended
        FROM holders h
        JOIN counted w ON w.wave_id = h.wave_id
        JOIN project_stages s ON s.project_id = h.project_id AND s.recipe_id = h.recipe_id
        UNION ALL
        SELECT t.id, w.project_id, w.priority, w.suspended
        FROM mine t
        JOIN counted w ON w.wave_id = t.wave_id
        JOIN project_stages s ON s.project_id = w.project_id AND s.recipe_id = t.recipe_id
        UNION ALL
        -- A source is one project's alone: its name says whose.
        SELECT t.id, l.project_id, l.priority, l.suspended
        FROM mine t
        JOIN live_sources l ON l.recipe_id = t.recipe_id AND l.subject = t.subject
        WHERE t.video_id IS NULL AND t.wave_id IS NULL AND l.project_id = p_project),
    best AS MATERIALIZED (
        SELECT DISTINCT ON (w.id) w.id, w.project_id, w.priority
        FROM wishes w ORDER BY w.id, w.suspended, w.priority DESC, w.project_id),
    changes AS (
        SELECT t.id, b.id IS NULL AS unwanted, b.project_id, b.priority
        FROM mine t LEFT JOIN best b ON b.id = t.id
        WHERE (b.id IS NULL AND t.project_id = p_project)
           OR (t.project_id, t.priority) <> (b.project_id, b.priority))
    SELECT array_agg(c.id) FILTER (WHERE c.unwanted), array_agg(c.id) FILTER (WHERE NOT c.unwanted),
           array_agg(c.project_id) FILTER (WHERE NOT c.unwanted),
           array_agg(c.priority) FILTER (WHERE NOT c.unwanted)
    INTO unwanted, given, givers, priorities
    FROM changes c;
    DELETE FROM tasks WHERE id = ANY (ARRAY(
        SELECT t.id FROM tasks t WHERE t.id = ANY (unwanted) FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS cancelled = ROW_COUNT;
    WITH free AS (
        SELECT t.id FROM tasks t WHERE t.id = ANY (given) FOR UPDATE SKIP LOCKED)
    UPDATE tasks t SET project_id = g.project_id, priority = g.priority
    FROM unnest(given, givers, priorities) AS g (id, project_id, priority) JOIN free f USING (id)
    WHERE t.id = g.id;
    GET DIAGNOSTICS passed_on = ROW_COUNT;
END $$;
