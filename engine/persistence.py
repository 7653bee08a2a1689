"""The stores of the engine, for a deployment that chooses one."""

from engine.adapters.local.job_queue import SqlJobQueue
from engine.adapters.sql.ai_call_logger import SqlAICallLogger
from engine.adapters.sql.persistence import SqlPersistence

__all__ = ["SqlAICallLogger", "SqlJobQueue", "SqlPersistence"]
