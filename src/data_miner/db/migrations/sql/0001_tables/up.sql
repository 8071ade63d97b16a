-- Tables of the catalogue and of the queue. The reasons are in data_miner/db/tables.py.

CREATE TABLE clock (
    one boolean DEFAULT true NOT NULL,
    shift interval DEFAULT '00:00:00'::interval NOT NULL,
    CONSTRAINT clock_pkey PRIMARY KEY (one),
    CONSTRAINT clock_one_check CHECK (one)
);
INSERT INTO clock DEFAULT VALUES;

-- The time of everything that is stored: of all sessions alike, and tests can move it.
CREATE FUNCTION dataminer_now() RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN now() + coalesce((SELECT shift FROM clock), interval '0');

CREATE TABLE projects (
    project_id integer GENERATED ALWAYS AS IDENTITY,
    namespace text COLLATE "C" DEFAULT 'default' NOT NULL,
    name text COLLATE "C" NOT NULL,
    spec jsonb NOT NULL,
    generation bigint DEFAULT 1 NOT NULL,
    weight real DEFAULT 1 NOT NULL,
    priority integer DEFAULT 0 NOT NULL,
    suspended boolean DEFAULT false NOT NULL,
    target_images integer,
    wave_epoch integer DEFAULT 1 NOT NULL,
    owner_uid text,
    leader_epoch bigint DEFAULT 0 NOT NULL,
    created_at timestamptz DEFAULT dataminer_now() NOT NULL,
    updated_at timestamptz DEFAULT dataminer_now() NOT NULL,
    deleted_at timestamptz,
    CONSTRAINT projects_pkey PRIMARY KEY (project_id),
    CONSTRAINT projects_namespace_name_key UNIQUE (namespace, name),
    CONSTRAINT projects_weight_check CHECK (weight > 0),
    CONSTRAINT projects_target_images_check CHECK (target_images IS NULL OR target_images > 0)
);

CREATE TABLE recipes (
    recipe_id integer GENERATED ALWAYS AS IDENTITY,
    stage text NOT NULL,
    fingerprint text NOT NULL,
    reuse_key text NOT NULL,
    params jsonb DEFAULT '{}'::jsonb NOT NULL,
    upstream_id integer,
    created_at timestamptz DEFAULT dataminer_now() NOT NULL,
    CONSTRAINT recipes_pkey PRIMARY KEY (recipe_id),
    CONSTRAINT recipes_fingerprint_key UNIQUE (fingerprint),
    CONSTRAINT recipes_upstream_id_fkey FOREIGN KEY(upstream_id) REFERENCES recipes (recipe_id)
);
CREATE INDEX recipes_reuse_key ON recipes (reuse_key);

CREATE TABLE project_stages (
    project_id integer NOT NULL,
    stage text NOT NULL,
    recipe_id integer NOT NULL,
    reads text,
    ends_member boolean DEFAULT false NOT NULL,
    CONSTRAINT project_stages_pkey PRIMARY KEY (project_id, stage),
    CONSTRAINT project_stages_project_id_fkey FOREIGN KEY(project_id) REFERENCES projects (project_id) ON DELETE CASCADE,
    CONSTRAINT project_stages_recipe_id_fkey FOREIGN KEY(recipe_id) REFERENCES recipes (recipe_id)
);
CREATE UNIQUE INDEX project_stages_one_end ON project_stages (project_id) WHERE ends_member;
CREATE INDEX project_stages_recipe_id ON project_stages (recipe_id);

CREATE TABLE videos (
    video_id text COLLATE "C" NOT NULL,
    url text NOT NULL,
    source_type text NOT NULL,
    source_info text,
    title text,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamptz DEFAULT dataminer_now() NOT NULL,
    updated_at timestamptz DEFAULT dataminer_now() NOT NULL,
    CONSTRAINT videos_pkey PRIMARY KEY (video_id),
    CONSTRAINT videos_source_type_check CHECK (source_type IN ('SEARCH','URL','FILE','MANUAL'))
);

CREATE TABLE waves (
    wave_id integer GENERATED ALWAYS AS IDENTITY,
    project_id integer NOT NULL,
    epoch integer NOT NULL,
    n integer NOT NULL,
    sealed_at timestamptz DEFAULT dataminer_now() NOT NULL,
    CONSTRAINT waves_pkey PRIMARY KEY (wave_id),
    CONSTRAINT waves_project_id_epoch_n_key UNIQUE (project_id, epoch, n),
    CONSTRAINT waves_n_check CHECK (n > 0),
    CONSTRAINT waves_project_id_fkey FOREIGN KEY(project_id) REFERENCES projects (project_id) ON DELETE CASCADE
);

CREATE TABLE project_videos (
    id integer GENERATED ALWAYS AS IDENTITY,
    project_id integer NOT NULL,
    video_id text COLLATE "C" NOT NULL,
    wave_id integer,
    wave_position integer,
    source_sha256 text,
    skip_reason text,
    created_at timestamptz DEFAULT dataminer_now() NOT NULL,
    CONSTRAINT project_videos_pkey PRIMARY KEY (id),
    CONSTRAINT project_videos_project_id_video_id_key UNIQUE (project_id, video_id),
    CONSTRAINT project_videos_wave_position_check CHECK ((wave_id IS NULL) = (wave_position IS NULL)),
    CONSTRAINT project_videos_skipped_has_no_wave_check CHECK (wave_id IS NULL OR skip_reason IS NULL),
    CONSTRAINT project_videos_project_id_fkey FOREIGN KEY(project_id) REFERENCES projects (project_id) ON DELETE CASCADE,
    CONSTRAINT project_videos_video_id_fkey FOREIGN KEY(video_id) REFERENCES videos (video_id),
    CONSTRAINT project_videos_wave_id_fkey FOREIGN KEY(wave_id) REFERENCES waves (wave_id)
);
CREATE INDEX project_videos_unadmitted ON project_videos (project_id)
    WHERE wave_id IS NULL AND skip_reason IS NULL;
CREATE INDEX project_videos_video_id ON project_videos (video_id);
CREATE INDEX project_videos_wave_id ON project_videos (wave_id, video_id);

CREATE TABLE project_sources (
    project_id integer NOT NULL,
    recipe_id integer NOT NULL,
    source_index integer NOT NULL,
    video_id text COLLATE "C" NOT NULL,
    rank integer NOT NULL,
    query text,
    found_at timestamptz DEFAULT dataminer_now() NOT NULL,
    CONSTRAINT project_sources_pkey PRIMARY KEY (project_id, recipe_id, source_index, video_id),
    CONSTRAINT project_sources_project_id_fkey FOREIGN KEY(project_id) REFERENCES projects (project_id) ON DELETE CASCADE,
    CONSTRAINT project_sources_recipe_id_fkey FOREIGN KEY(recipe_id) REFERENCES recipes (recipe_id),
    CONSTRAINT project_sources_video_id_fkey FOREIGN KEY(video_id) REFERENCES videos (video_id)
);
CREATE INDEX project_sources_video_id ON project_sources (video_id);

CREATE TABLE results (
    recipe_id integer NOT NULL,
    subject text COLLATE "C" NOT NULL,
    stage text NOT NULL,
    project_id integer,
    video_id text COLLATE "C",
    wave_id integer,
    outcome text NOT NULL,
    reason text,
    frames integer,
    facts jsonb DEFAULT '{}'::jsonb NOT NULL,
    cost jsonb DEFAULT '{}'::jsonb NOT NULL,
    attempts integer DEFAULT 1 NOT NULL,
    started_at timestamptz,
    finished_at timestamptz DEFAULT dataminer_now() NOT NULL,
    processed_by text,
    gone_at timestamptz,
    CONSTRAINT results_pkey PRIMARY KEY (recipe_id, subject),
    CONSTRAINT results_outcome_check CHECK (outcome IN ('done','skipped')),
    CONSTRAINT results_reason_check CHECK ((outcome = 'skipped') = (reason IS NOT NULL)),
    CONSTRAINT results_recipe_id_fkey FOREIGN KEY(recipe_id) REFERENCES recipes (recipe_id)
);
CREATE INDEX results_video_id ON results (video_id) WHERE video_id IS NOT NULL;
CREATE INDEX results_wave_id ON results (wave_id) WHERE wave_id IS NOT NULL;

CREATE TABLE artifacts (
    artifact_id bigint GENERATED ALWAYS AS IDENTITY,
    recipe_id integer NOT NULL,
    subject text COLLATE "C" NOT NULL,
    position integer NOT NULL,
    kind text NOT NULL,
    uri text NOT NULL,
    bytes bigint NOT NULL,
    sha256 text NOT NULL,
    media jsonb DEFAULT '{}'::jsonb NOT NULL,
    generation integer DEFAULT 1 NOT NULL,
    created_at timestamptz DEFAULT dataminer_now() NOT NULL,
    deleted_at timestamptz,
    CONSTRAINT artifacts_pkey PRIMARY KEY (artifact_id),
    CONSTRAINT artifacts_bytes_check CHECK (bytes >= 0),
    CONSTRAINT artifacts_sha256_check CHECK (sha256 ~ '^[0-9a-f]{64}$')
);
CREATE INDEX artifacts_result ON artifacts (recipe_id, subject);
CREATE INDEX artifacts_sha256 ON artifacts (sha256);

CREATE TABLE tasks (
    id bigint GENERATED ALWAYS AS IDENTITY,
    stage text NOT NULL,
    recipe_id integer NOT NULL,
    subject text COLLATE "C" NOT NULL,
    project_id integer NOT NULL,
    video_id text COLLATE "C",
    wave_id integer,
    priority integer DEFAULT 0 NOT NULL,
    state text DEFAULT 'ready' NOT NULL,
    claim_seq integer DEFAULT 0 NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    lost_count integer DEFAULT 0 NOT NULL,
    run_at timestamptz,
    claimed_by text,
    claimed_at timestamptz,
    lease_until timestamptz,
    heartbeat_at timestamptz,
    step text,
    progress real,
    message text,
    eta timestamptz,
    checkpoint jsonb,
    error_class text,
    error text,
    trace text,
    created_at timestamptz DEFAULT dataminer_now() NOT NULL,
    started_at timestamptz,
    CONSTRAINT tasks_pkey PRIMARY KEY (id),
    CONSTRAINT tasks_state_check CHECK (state IN ('ready','waiting','running','failed')),
    CONSTRAINT tasks_running_is_owned_check CHECK ((state = 'running') = (claimed_by IS NOT NULL AND claimed_at IS NOT NULL AND lease_until IS NOT NULL AND heartbeat_at IS NOT NULL)),
    CONSTRAINT tasks_owner_is_whole_check CHECK ((claimed_by IS NULL) = (lease_until IS NULL) AND (claimed_by IS NULL) = (claimed_at IS NULL) AND (claimed_by IS NULL) = (heartbeat_at IS NULL)),
    CONSTRAINT tasks_waiting_has_time_check CHECK ((state = 'waiting') = (run_at IS NOT NULL)),
    CONSTRAINT tasks_failed_has_class_check CHECK (state <> 'failed' OR error_class IS NOT NULL),
    CONSTRAINT tasks_progress_check CHECK (progress BETWEEN 0 AND 1),
    CONSTRAINT tasks_counters_check CHECK (claim_seq >= 0 AND attempt >= 0 AND lost_count >= 0),
    CONSTRAINT tasks_recipe_id_fkey FOREIGN KEY(recipe_id) REFERENCES recipes (recipe_id)
)
WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX tasks_failed ON tasks (project_id) WHERE state = 'failed';
CREATE UNIQUE INDEX tasks_key ON tasks (recipe_id, subject);
CREATE INDEX tasks_ready ON tasks (stage, project_id, priority DESC, id) WHERE state = 'ready' AND lost_count < 2;
CREATE INDEX tasks_running ON tasks (stage, project_id) WHERE state = 'running';
CREATE INDEX tasks_suspect ON tasks (stage, id) WHERE state = 'ready' AND lost_count >= 2;
CREATE INDEX tasks_video_id ON tasks (video_id) WHERE video_id IS NOT NULL;
CREATE INDEX tasks_waiting ON tasks (run_at) WHERE state = 'waiting';
CREATE INDEX tasks_wave_id ON tasks (wave_id) WHERE wave_id IS NOT NULL;

CREATE TABLE workers (
    worker_id text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    pool text NOT NULL,
    stages jsonb NOT NULL,
    slots integer NOT NULL,
    version text NOT NULL,
    started_at timestamptz DEFAULT dataminer_now() NOT NULL,
    seen_at timestamptz DEFAULT dataminer_now() NOT NULL,
    stopped_at timestamptz,
    disabled_at timestamptz,
    drain boolean DEFAULT false NOT NULL,
    CONSTRAINT workers_pkey PRIMARY KEY (worker_id)
);

CREATE TABLE events (
    event_id bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz DEFAULT dataminer_now() NOT NULL,
    kind text NOT NULL,
    project_id integer,
    video_id text COLLATE "C",
    stage text,
    subject text COLLATE "C",
    worker_id text,
    details jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT events_pkey PRIMARY KEY (event_id)
);
CREATE INDEX events_project_id ON events (project_id, event_id);
CREATE INDEX events_video_id ON events (video_id) WHERE video_id IS NOT NULL;

CREATE TABLE datasets (
    dataset_id integer GENERATED ALWAYS AS IDENTITY,
    project_id integer NOT NULL,
    version integer NOT NULL,
    recipe_id integer NOT NULL,
    wave_id integer NOT NULL,
    digest text NOT NULL,
    images integer NOT NULL,
    uri text NOT NULL,
    summary jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamptz DEFAULT dataminer_now() NOT NULL,
    CONSTRAINT datasets_pkey PRIMARY KEY (dataset_id),
    CONSTRAINT datasets_project_id_version_key UNIQUE (project_id, version),
    CONSTRAINT datasets_digest_check CHECK (digest ~ '^[0-9a-f]{64}$'),
    CONSTRAINT datasets_project_id_fkey FOREIGN KEY(project_id) REFERENCES projects (project_id) ON DELETE CASCADE,
    CONSTRAINT datasets_recipe_id_fkey FOREIGN KEY(recipe_id) REFERENCES recipes (recipe_id)
);
CREATE INDEX datasets_recipe_id ON datasets (recipe_id, wave_id);

CREATE TABLE models (
    digest text NOT NULL,
    name text NOT NULL,
    card jsonb NOT NULL,
    created_at timestamptz DEFAULT dataminer_now() NOT NULL,
    last_used_at timestamptz,
    CONSTRAINT models_pkey PRIMARY KEY (digest)
);
CREATE INDEX models_name ON models (name);

CREATE TABLE rate_budgets (
    site text NOT NULL,
    tokens real NOT NULL,
    per_minute real NOT NULL,
    refilled_at timestamptz DEFAULT dataminer_now() NOT NULL,
    open_until timestamptz,
    failures integer DEFAULT 0 NOT NULL,
    reason text,
    CONSTRAINT rate_budgets_pkey PRIMARY KEY (site),
    CONSTRAINT rate_budgets_budget_check CHECK (tokens >= 0 AND per_minute > 0)
);
