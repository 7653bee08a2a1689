"""Where the engine's state is kept: what a deployment imports to choose a store."""

from engine.adapters.sql.ai_call_logger import SqlAICallLogger
from engine.adapters.sql.job_queue import SqlJobQueue
from engine.adapters.sql.persistence import SqlPersistence

__all__ = ["SqlAICallLogger", "SqlJobQueue", "SqlPersistence"]
