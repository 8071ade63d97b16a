DROP FUNCTION queue_seconds_to_next_run();
DROP FUNCTION queue_retry(bigint[]);
DROP FUNCTION queue_rescue(integer, interval, interval, integer);
DROP FUNCTION queue_checkpoint(bigint, integer, jsonb);
DROP FUNCTION queue_extend(bigint[], integer[], real[], text[], interval);
DROP FUNCTION queue_hand_back(bigint[], integer[]);
DROP FUNCTION queue_later(bigint, integer, interval, text, text);
DROP FUNCTION queue_fail(
    bigint, integer, text, text, text, boolean, integer, interval, integer);
DROP FUNCTION queue_finish(bigint[], integer[], text[], text[], jsonb[], jsonb[]);
DROP FUNCTION queue_claim_suspect(text[], text, interval);
DROP FUNCTION queue_claim(text[], integer[], integer, text, interval, integer);
DROP FUNCTION queue_grant(bigint[], text, interval);
DROP TYPE claimed_task;
DROP FUNCTION queue_pick(text, integer, integer, integer);
DROP FUNCTION queue_promote(integer);
