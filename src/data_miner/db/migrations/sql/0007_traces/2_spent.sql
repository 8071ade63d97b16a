-- What the tries of a task have cost that gave no result: a result's cost is that of all its tries, and a
-- dead letter has one too.
ALTER TABLE tasks ADD COLUMN spent jsonb;
COMMENT ON COLUMN tasks.spent IS 'cost of the tries so far, by counter as in results.cost';
