-- Which programs can work on this schema: while an installation is upgraded, and after it was rolled
-- back, those of an earlier release do. A migration that only adds leaves this as it is; one that
-- takes away what an earlier program uses raises it to its own revision.
CREATE TABLE schema_support (
    one boolean DEFAULT true NOT NULL,
    oldest_program text COLLATE "C" NOT NULL,
    CONSTRAINT schema_support_pkey PRIMARY KEY (one),
    CONSTRAINT schema_support_one_check CHECK (one)
);
COMMENT ON COLUMN schema_support.oldest_program IS
    'programs whose own revision is this one or a later one can work on this schema';
INSERT INTO schema_support (oldest_program) VALUES ('0006');
