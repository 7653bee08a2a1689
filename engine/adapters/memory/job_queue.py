from engine.kernel.job_queue import JobQueue


class InMemoryJobQueue(JobQueue):
    """Job rows in an `InMemoryPersistence`, notifications in this process."""
