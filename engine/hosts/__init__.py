"""Hosts drive the kernel: a long-running worker, and one for single invocations."""

from engine.hosts.job_runner import JobReport
from engine.hosts.maintenance import TickResult
from engine.hosts.options import HostOptions
from engine.hosts.run_and_wait import RunOutcome, run_and_wait
from engine.hosts.serverless import JobMessage, JobResult, ProcessedJobs, ServerlessHost
from engine.hosts.worker import WorkerHost, WorkerStats

__all__ = [
    "HostOptions",
    "JobMessage",
    "JobReport",
    "JobResult",
    "ProcessedJobs",
    "RunOutcome",
    "ServerlessHost",
    "TickResult",
    "WorkerHost",
    "WorkerStats",
    "run_and_wait",
]
