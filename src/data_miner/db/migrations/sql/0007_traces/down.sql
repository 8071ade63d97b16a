ALTER TABLE tasks DROP COLUMN spent;
ALTER TABLE tasks DROP COLUMN traceparent;
DROP FUNCTION queue_trace(text);
