ALTER TABLE tasks DROP COLUMN traceparent;
DROP FUNCTION queue_trace(text);
