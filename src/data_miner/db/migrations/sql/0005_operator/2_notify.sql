-- Wakes whoever shows projects. A hint, like every notification: who misses one looks again anyway.
-- One commit says each project once, however often it is said here. Never on the way of a task that
-- ends well, because commits that notify go one after the other.

CREATE FUNCTION notify_events() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('dataminer_projects', e.project_id::text)
    FROM (SELECT DISTINCT project_id FROM new_events
          WHERE project_id IS NOT NULL AND kind NOT LIKE 'task.%') e;
    RETURN NULL;
END $$;

CREATE TRIGGER events_notify AFTER INSERT ON events
REFERENCING NEW TABLE AS new_events
FOR EACH STATEMENT EXECUTE FUNCTION notify_events();

CREATE FUNCTION notify_project() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('dataminer_projects', NEW.project_id::text);
    RETURN NULL;
END $$;

CREATE TRIGGER tasks_notify AFTER UPDATE OF state ON tasks
FOR EACH ROW WHEN (NEW.state = 'failed' AND OLD.state <> 'failed')
EXECUTE FUNCTION notify_project();

CREATE TRIGGER projects_notify AFTER UPDATE OF suspended, deleted_at, owner_uid ON projects
FOR EACH ROW EXECUTE FUNCTION notify_project();
