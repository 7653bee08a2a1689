from engine.kernel.job_queue import JobQueue


class SqlJobQueue(JobQueue):
    """`JobQueue` over `SqlPersistence`: a worker of any process claims with one statement."""
