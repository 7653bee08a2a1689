"""Guards of the other transitions."""

from tests.mutants.mutant import Mutant, Mutants

TRANSITIONS = "tests/unit/transitions"
NEED = "test_the_need_of_a_run_is_read_off_its_current_group"
HOLDS = "test_a_heartbeat_holds_for_who_has_the_job_in_a_run_that_wants_it"
ONLY_WITH_CLAIM = "test_only_the_poller_with_the_claim_may_say_so_and_only_in_a_running_run"

CLAIM_JOB = Mutants(
    "engine/transitions/claim_job.py",
    f"{TRANSITIONS}/test_claim_job.py",
    (
        Mutant(
            "jobs of a run that runs",
            "run.status is not RunStatus.RUNNING or run.failure_code",
            "run.failure_code",
            "test_a_run_that_is_not_running_gives_no_jobs",
        ),
        Mutant(
            "jobs of a run that is not failing",
            " or run.failure_code is not None:",
            ":",
            "test_a_failing_run_gives_no_jobs",
        ),
        Mutant(
            "jobs of a stage that has not ended",
            " or stage.status not in _STARTABLE:",
            ":",
            "test_a_job_starts_a_stage_that_has_not_ended",
        ),
        Mutant(
            "a claim repeated under its token is the same claim",
            "if job.status is JobStatus.RUNNING and job.lease_token == lease.token:",
            "if False:",
            "test_a_claim_repeated_under_its_token_only_renews_the_lease",
        ),
        Mutant(
            "a job is not due before its time",
            "return job.due_at <= now",
            "return True",
            "test_a_job_is_claimed_when_it_is_due",
        ),
        Mutant(
            "a live lease keeps others out",
            "and job.lease_until is not None and job.lease_until <= now",
            "",
            "test_a_running_job_is_taken_over_when_its_lease_has_run_out",
        ),
        Mutant(
            "a job is not taken over more often than it may run",
            "return job.status is JobStatus.RUNNING and job.attempt < job.max_attempts",
            "return job.status is JobStatus.RUNNING",
            "test_a_job_without_attempts_left_is_not_taken_over",
        ),
        Mutant(
            "each claim is an attempt",
            'add={"attempt": 1})',
            "add={})",
            "test_a_claim_takes_the_job_and_starts_its_stage",
        ),
    ),
)

KEEP_LEASE = Mutants(
    "engine/transitions/keep_lease.py",
    f"{TRANSITIONS}/test_keep_lease.py",
    (
        Mutant(
            "fencing token of a heartbeat",
            '"status": JobStatus.RUNNING, "lease_token": token}',
            '"status": JobStatus.RUNNING}',
            HOLDS,
        ),
        Mutant(
            "a heartbeat is for a job that runs",
            '"status": JobStatus.RUNNING, "lease_token": token}',
            '"lease_token": token}',
            HOLDS,
        ),
        Mutant(
            "a heartbeat is for a run that runs",
            '"status": RunStatus.RUNNING, "failure_code": None}',
            '"failure_code": None}',
            HOLDS,
        ),
        Mutant(
            "a heartbeat is for a run that is not failing",
            '"status": RunStatus.RUNNING, "failure_code": None}',
            '"status": RunStatus.RUNNING}',
            HOLDS,
        ),
        Mutant(
            "progress is for a run that wants the job",
            "run=RunUpdate(ids=(run.id,), expect=_ACTIVE)",
            "run=RunUpdate(ids=(run.id,))",
            "test_progress_is_written_with_an_event",
        ),
    ),
)

POLL_STAGE = Mutants(
    "engine/transitions/poll_stage.py",
    f"{TRANSITIONS}/test_poll_stage.py",
    (
        Mutant(
            "poll token of who waits on",
            '"status": StageStatus.SUSPENDED, "poll_token": token}',
            '"status": StageStatus.SUSPENDED}',
            ONLY_WITH_CLAIM,
        ),
        Mutant(
            "a poll is for a stage that is suspended",
            '"status": StageStatus.SUSPENDED, "poll_token": token}',
            '"poll_token": token}',
            ONLY_WITH_CLAIM,
        ),
        Mutant(
            "a poll is for a run that runs",
            'is_running = {"status": RunStatus.RUNNING}',
            "is_running: dict[str, str] = {}",
            ONLY_WITH_CLAIM,
        ),
    ),
)

MOVES = Mutants(
    "engine/transitions/moves.py",
    f"{TRANSITIONS}/test_moves.py",
    (
        Mutant(
            "moves of a run",
            "    check_move(RUN_MOVES, run.status, to)\n",
            "",
            "test_a_run_moves_as_its_table_allows",
        ),
        Mutant(
            "moves of a stage",
            "    check_move(STAGE_MOVES, stage.status, to)\n",
            "",
            "test_a_stage_moves_as_its_table_allows",
        ),
        Mutant(
            "moves of a job",
            "    check_move(JOB_MOVES, job.status, to)\n",
            "",
            "test_a_job_moves_as_its_table_allows",
        ),
        Mutant(
            "a move starts from the status it was read in",
            'expect={"status": run.status, **(expect or {})}',
            "expect=expect or {}",
            "test_a_run_moves_as_its_table_allows",
        ),
        Mutant(
            "what has ended is not cancelled",
            "check_move(STAGE_MOVES, stage.status, StageStatus.CANCELLED)",
            "pass",
            "test_a_stage_that_has_ended_is_not_cancelled",
        ),
    ),
)

END_RUN = Mutants(
    "engine/transitions/end_run.py",
    f"{TRANSITIONS}/test_end_run.py",
    (
        Mutant(
            "the version that a cancel or a reaper has seen",
            'expect={"version": run.version}',
            "expect={}",
            "test_a_run_ends_only_as_it_was_read",
        ),
        Mutant(
            "a run that has ended is not cancelled",
            "    if snapshot.run.status not in _UNFINISHED:\n        return Refused(Reason.GHOST)\n    event =",
            "    event =",
            "test_a_run_that_has_ended_is_left_alone",
        ),
        Mutant(
            "cancellation of all that is open",
            "writes=(*rest, *writes)",
            "writes=writes",
            "test_everything_that_is_open_is_cancelled_at_once",
        ),
    ),
)

ADVANCE_RUN = Mutants(
    "engine/transitions/advance_run.py",
    f"{TRANSITIONS}/test_advance_run.py",
    (
        Mutant(
            "the version a transition was decided on",
            'expect={"status": run.status, "version": run.version},\n    )',
            'expect={"status": run.status},\n    )',
            "test_a_finished_group_is_followed_by_the_next",
        ),
        Mutant(
            "the version for which jobs are made again",
            'expect={"status": run.status, "version": run.version}),',
            'expect={"status": run.status}),',
            "TestMissingJobs::test_a_waiting_stage_without_a_job_gets_one_again",
        ),
        Mutant(
            "a job somebody will run is not stuck",
            "    if any(snapshot.job_of(stage) for stage in group):\n        return Need.NOTHING\n",
            "",
            NEED,
        ),
        Mutant(
            "a failed stage ends its run",
            "    if any(stage.status is StageStatus.FAILED for stage in group):\n        return Need.FAIL\n",
            "",
            NEED,
        ),
        Mutant(
            "a group is finished with all its stages",
            "return complete and len(group) == len(workflow.group(group_no))",
            "return complete",
            NEED,
        ),
        Mutant(
            "a stage that waits for its job gets no other",
            "return [stage for stage in pending if snapshot.job_of(stage) is None]",
            "return list(pending)",
            NEED,
        ),
        Mutant(
            "a run that has ended gets no jobs",
            "if run.status is not RunStatus.RUNNING or not jobs:",
            "if not jobs:",
            "TestMissingJobs::test_a_run_that_is_not_running_gets_none",
        ),
    ),
)

OPEN_GROUP = Mutants(
    "engine/transitions/open_group.py",
    f"{TRANSITIONS}/test_open_group.py",
    (
        Mutant(
            "existing stage records are left alone",
            "stage.id: present.get(stage.id) or _record(",
            "stage.id: _record(",
            "test_records_of_the_group_that_are_there_already_stay",
        ),
        Mutant(
            "a stage that waits with a job gets no other",
            "and (whole is None or whole.job_of(record) is None)",
            "",
            "test_a_stage_that_waits_with_a_job_gets_no_other",
        ),
        Mutant(
            "a wide group is claimed by nobody as it opens",
            "if lease is not None and len(stages) == len(new) == 1:",
            "if lease is not None:",
            "test_no_stage_of_a_wide_group_is_claimed_as_it_opens",
        ),
        Mutant(
            "a rerun's stage begins with what the one before cost",
            "spent = context.spent.get(stage.id, Spent())",
            "spent = Spent()",
            "test_a_stage_begins_with_the_costs_of_its_earlier_generations",
        ),
    ),
)

START_RUN = Mutants(
    "engine/transitions/start_run.py",
    f"{TRANSITIONS}/test_start_run.py",
    (
        Mutant(
            "only a pending run starts",
            "if run.status is not RunStatus.PENDING:",
            "if False:",
            "TestStart::test_only_a_pending_run_starts",
        ),
        Mutant(
            "only a run that has ended runs again",
            "if run.status not in {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED}:",
            "if False:",
            "TestRerun::test_a_run_that_has_not_ended_does_not_run_again",
        ),
        Mutant(
            "the version a rerun was decided on",
            'expect={"version": run.version}',
            "expect={}",
            "TestRerun::test_a_run_that_has_ended_runs_again_as_it_was_read",
        ),
        Mutant(
            "jobs of removed stages",
            "if job.stage_record_id in ids and job.status in OPEN_JOBS",
            "if False and job.stage_record_id in ids",
            "TestRerun::test_jobs_of_the_old_records_never_run",
        ),
        Mutant(
            "the next generation is above all that are removed",
            "default=-1) + 1",
            "default=0)",
            "TestRerun::test_the_next_generation_is_above_all_that_are_removed",
        ),
        Mutant(
            "another input is for the stage of the rerun only",
            " or row.stage_id != fact.from_stage_id:",
            ":",
            "TestRerun::test_only_the_stage_it_starts_from_gets_another_input",
        ),
        Mutant(
            "the key of a command is in its transaction",
            "*((Insert(rows=(creation.key,)),) if creation.key else ()),",
            "",
            "TestCreation::test_its_key_is_written_along_and_names_the_cause",
        ),
        Mutant(
            "repeated annotations and their events go",
            "new = without_repeats(drafts, known)",
            "new = without_repeats(drafts)",
            "TestAttaching::test_repeats_and_their_events_go",
        ),
    ),
)

ANNOTATIONS = Mutants(
    "engine/transitions/annotations.py",
    f"{TRANSITIONS}/test_annotations.py",
    (
        Mutant(
            "of two annotations under one key the first stays",
            "            if identity in seen:\n",
            "            if False:\n",
            "test_of_annotations_under_one_idempotency_key_the_first_stays",
        ),
        Mutant(
            "a repeat that would be told must be known",
            "return any(draft.event is not None and",
            "return any(False and",
            "test_only_a_repeat_with_an_event_needs_to_be_known",
        ),
    ),
)

OF_TRANSITIONS = (
    CLAIM_JOB,
    KEEP_LEASE,
    POLL_STAGE,
    MOVES,
    END_RUN,
    ADVANCE_RUN,
    OPEN_GROUP,
    START_RUN,
    ANNOTATIONS,
)
