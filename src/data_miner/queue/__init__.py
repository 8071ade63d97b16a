"""The work queue: one verb a file, each a function of an open connection.

The caller owns the transaction and commits it before any work begins. Plain data goes in and
comes out. The rules are SQL functions of the schema, so that each is one round trip and every
program that uses the queue follows the same ones; docs/architecture.md draws the states.
"""

from data_miner.queue.admit import admit
from data_miner.queue.backoff import backoff_seconds
from data_miner.queue.cancel import cancel
from data_miner.queue.checkpoint import checkpoint
from data_miner.queue.claim import Cursor, claim, claim_suspect
from data_miner.queue.extend import Beat, extend
from data_miner.queue.fail import fail
from data_miner.queue.finish import Finished, finish
from data_miner.queue.hand_back import hand_back
from data_miner.queue.later import later
from data_miner.queue.lose import lose
from data_miner.queue.next_run import next_run_at, seconds_to_next_run
from data_miner.queue.notify import Notifier, channel
from data_miner.queue.plan import plan_after, plan_project
from data_miner.queue.promote import promote
from data_miner.queue.rescue import Lost, rescue
from data_miner.queue.retry import retry
from data_miner.queue.spend import spend, spent
from data_miner.queue.sweep import Swept, sweep
from data_miner.queue.task import Claimed
from data_miner.queue.tidy import Tidied, tidy
from data_miner.queue.trace import trace

__all__ = [
    "Beat",
    "Claimed",
    "Cursor",
    "Finished",
    "Lost",
    "Notifier",
    "Swept",
    "Tidied",
    "admit",
    "backoff_seconds",
    "cancel",
    "channel",
    "checkpoint",
    "claim",
    "claim_suspect",
    "extend",
    "fail",
    "finish",
    "hand_back",
    "later",
    "lose",
    "next_run_at",
    "plan_after",
    "plan_project",
    "promote",
    "rescue",
    "retry",
    "seconds_to_next_run",
    "spend",
    "spent",
    "sweep",
    "tidy",
    "trace",
]
