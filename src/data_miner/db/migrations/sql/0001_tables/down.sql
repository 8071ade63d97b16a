-- Everything goes, the data too.
DROP TABLE rate_budgets;
DROP TABLE models;
DROP TABLE datasets;
DROP TABLE events;
DROP TABLE workers;
DROP TABLE tasks;
DROP TABLE artifacts;
DROP TABLE results;
DROP TABLE project_sources;
DROP TABLE project_videos;
DROP TABLE waves;
DROP TABLE videos;
DROP TABLE project_stages;
DROP TABLE recipes;
DROP TABLE projects;
DROP FUNCTION dataminer_now();
DROP TABLE clock;
