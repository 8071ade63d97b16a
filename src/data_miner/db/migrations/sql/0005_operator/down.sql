DROP FUNCTION queue_tidy(integer);
DROP INDEX tasks_project_id;
DROP TRIGGER projects_notify ON projects;
DROP TRIGGER tasks_notify ON tasks;
DROP FUNCTION notify_project();
DROP TRIGGER events_notify ON events;
DROP FUNCTION notify_events();
DROP TABLE dataset_removals;
DROP INDEX results_finished_at;
ALTER TABLE projects
    DROP COLUMN owner_installation,
    DROP COLUMN applied_digest,
    DROP COLUMN retried_token;
DROP TABLE leaders;
