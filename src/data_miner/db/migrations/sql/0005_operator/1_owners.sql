-- Who answers for a project, and which operator may write. Only adds: programs of before go on.

-- One row for each cluster that uses this database: who leads its operator, by number. Every write
-- of an operator holds its row, so that one which was replaced writes nothing.
CREATE TABLE leaders (
    installation text NOT NULL,
    epoch bigint NOT NULL,
    holder text NOT NULL,
    elected_at timestamptz DEFAULT dataminer_now() NOT NULL,
    CONSTRAINT leaders_pkey PRIMARY KEY (installation),
    CONSTRAINT leaders_epoch_check CHECK (epoch > 0)
);

ALTER TABLE projects
    ADD COLUMN owner_installation text,
    ADD COLUMN applied_digest text,
    ADD COLUMN retried_token text;
CREATE INDEX projects_owner_installation ON projects (owner_installation)
    WHERE owner_installation IS NOT NULL;

-- What has ended lately, without reading what ended long ago: results are written in this order.
CREATE INDEX results_finished_at ON results USING brin (finished_at)
    WITH (pages_per_range = 16, autosummarize = on);

-- Published versions whose project is gone, and their files with it as soon as a worker gets there.
CREATE TABLE dataset_removals (
    uri text NOT NULL,
    digest text NOT NULL,
    asked_at timestamptz DEFAULT dataminer_now() NOT NULL,
    started_at timestamptz,
    error text,
    CONSTRAINT dataset_removals_pkey PRIMARY KEY (uri),
    CONSTRAINT dataset_removals_digest_check CHECK (digest ~ '^[0-9a-f]{64}$')
);
