-- Which trace a task belongs to: the W3C traceparent of the span that planned it. Whoever plans says it
-- for the transaction (queue_trace); NULL where nobody did, as long as nothing is traced.
CREATE FUNCTION queue_trace(p_traceparent text) RETURNS void
LANGUAGE sql AS $$
    SELECT set_config('dataminer.traceparent', p_traceparent, true)
$$;

-- The default is evaluated now for the rows that are there, so none of them is written.
ALTER TABLE tasks ADD COLUMN traceparent text
    DEFAULT nullif(current_setting('dataminer.traceparent', true), '');
COMMENT ON COLUMN tasks.traceparent IS
    'W3C trace context of the span that planned the task; kept by all its tries';
