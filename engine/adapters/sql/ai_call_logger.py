from engine.ai.call_log import CallLog


class SqlAICallLogger(CallLog):
    """Calls in the tables of a `SqlPersistence`."""
