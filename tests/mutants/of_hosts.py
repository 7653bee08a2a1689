"""Guards of workers and of what their processes share."""

from tests.mutants.mutant import Mutant, Mutants

PROCESSES = "tests/processes/test_worker_processes.py"
LOCKS = "tests/unit/test_worker_lock.py"

CHILD = Mutants(
    "engine/hosts/child.py",
    PROCESSES,
    (
        Mutant(
            "a slot's process leaves SIGTERM to its parent",
            "signal.signal(number, _do_nothing)",
            "signal.signal(number, signal.SIG_DFL)",
            "test_a_body_survives_a_sigterm_to_all_processes_of_the_worker",
        ),
        Mutant(
            "forks of a body can be terminated",
            "        signal.signal(number, signal.SIG_DFL)\n",
            "        pass\n",
            "test_a_body_may_start_processes_and_fork",
        ),
        Mutant(
            "a signal that comes during a fork waits",
            "before=partial(signal.pthread_sigmask, signal.SIG_BLOCK, _SIGNALS),",
            "before=lambda: None,",
            "test_a_body_may_start_processes_and_fork",
        ),
    ),
)

PROCESS_SLOTS = Mutants(
    "engine/hosts/process_slots.py",
    PROCESSES,
    (
        Mutant(
            "a slot's process may have children",
            "daemon=False",
            "daemon=True",
            "test_a_body_may_start_processes_and_fork",
        ),
        Mutant(
            "the processes of a body end with it",
            "os.killpg(process.pid, signal.SIGKILL)",
            "process.kill()",
            "test_the_processes_of_a_body_past_its_timeout_are_ended_too",
        ),
        Mutant(
            "a child that works ends the backoff",
            "                self.backoff.worked()\n                self._config.on_report(word)",
            "                self._config.on_report(word)",
            "tests/faults/test_worker_host.py::test_a_child_that_works_ends_the_backoff_of_its_slot",
            "memory",
        ),
    ),
)

WORKER = Mutants(
    "engine/hosts/worker.py",
    PROCESSES,
    (
        Mutant(
            "each tick releases the leases of dead workers",
            "        self._recover()\n",
            "",
            "test_the_leases_of_a_killed_worker_are_released_by_the_tick_of_another",
        ),
    ),
)

WORKER_LOCK = Mutants(
    "engine/adapters/local/worker_lock.py",
    LOCKS,
    (
        Mutant(
            "locks of this process are left alone",
            "    if path in _HELD:\n",
            "    if False:\n",
            "test_a_look_for_dead_workers_leaves_the_locks_of_its_own_process",
        ),
        Mutant(
            "lock files are kept until the leases are released",
            "    finally:\n        for file in locked.values():\n            os.close(file)\n",
            "    finally:\n        for path, file in locked.items():\n            path.unlink(missing_ok=True)\n"
            "            os.close(file)\n",
            "test_the_file_of_a_dead_worker_is_removed_once_its_leases_are_released",
        ),
    ),
)

POLLS = Mutants(
    "engine/kernel/polls.py",
    "tests/faults/test_suspension.py",
    (
        Mutant(
            "a long check renews its claim",
            "poll.token, context.at + POLL_CLAIM, context",
            "poll.token, context.at, context",
            "test_a_long_check_keeps_its_claim",
            "memory",
        ),
    ),
)

STARTING = Mutants(
    "engine/kernel/starting.py",
    "tests/kernel/test_creating_and_claiming.py",
    (
        Mutant(
            "a claim whose runs were taken looks further",
            "if not runs or len(page) < command.max_claims:",
            "if True:",
            "test_a_claim_whose_runs_are_taken_by_another_looks_further",
            "memory",
        ),
    ),
)

START_RUN = Mutants(
    "engine/transitions/start_run.py",
    "tests/kernel/test_creating_and_claiming.py",
    (
        Mutant(
            "a start whose answer was lost is recognised by its jobs",
            "    if whole and first and {",
            "    if False and {",
            "test_a_command_whose_answer_was_lost_tells_what_it_did",
        ),
    ),
)

STAGE_POLL = Mutants(
    "engine/kernel/handlers/stage_poll_suspended.py",
    "tests/kernel/test_polling.py",
    (
        Mutant(
            "a poll of one run leaves the others",
            "        if run_id is not None:\n",
            "        if run_id is not None and record_id is not None:\n",
            "test_a_poll_of_one_run_leaves_the_others",
            "memory",
        ),
    ),
)

OF_HOSTS = (CHILD, PROCESS_SLOTS, WORKER, WORKER_LOCK, POLLS, STARTING, START_RUN, STAGE_POLL)
