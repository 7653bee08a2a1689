"""Guards of the end of an attempt: who may finish, what a finish rests on, and what follows from it."""

from tests.mutants.mutant import Mutant, Mutants

TRANSITIONS = "tests/unit/transitions"
RIGHT = "TestRightToFinish"
GUARDED = f"{RIGHT}::test_a_finish_is_guarded_by_the_token_and_the_statuses"
LAST_NEEDS_ALL = "TestNeedOfTheWholeRun::test_in_a_wide_group_the_last_and_the_failing_need_it"
ONE_OFF = "test_a_stage_that_is_not_the_last_needs_to_know_nothing_of_its_siblings"
WAITS_FOR_BODIES = "test_a_failure_cancels_what_waits_and_waits_for_what_runs"

FINISH_STAGE = Mutants(
    "engine/transitions/finish_stage.py",
    f"{TRANSITIONS}/test_finish_stage.py",
    (
        Mutant(
            "fencing token, in the conditions of a finish",
            'return {} if self.finish.by_poll else {"lease_token": self.finish.token}',
            "return {}",
            GUARDED,
        ),
        Mutant(
            "fencing token, as it was read",
            "return running and job.lease_token == finish.token",
            "return running",
            f"{RIGHT}::test_another_token_is_refused",
        ),
        Mutant(
            "the stage must run",
            "running = stage.status is StageStatus.RUNNING and job.status",
            "running = job.status",
            f"{RIGHT}::test_a_stage_that_is_not_running_is_lost",
        ),
        Mutant(
            "the job must run",
            "running = stage.status is StageStatus.RUNNING and job.status is JobStatus.RUNNING",
            "running = stage.status is StageStatus.RUNNING",
            f"{RIGHT}::test_a_job_that_is_not_running_is_lost",
        ),
        Mutant(
            "the run must run",
            "    if snapshot.run.status is not RunStatus.RUNNING:\n        return Refused(Reason.GHOST)\n",
            "",
            f"{RIGHT}::test_a_run_in_another_state_is_a_ghost",
        ),
        Mutant(
            "a suspension or retry is for a run that is not failing",
            'expect={"status": RunStatus.RUNNING, "failure_code": None}',
            'expect={"status": RunStatus.RUNNING}',
            GUARDED,
        ),
        Mutant(
            "a suspension or retry is for a run that runs",
            'expect={"status": RunStatus.RUNNING, "failure_code": None}',
            'expect={"failure_code": None}',
            GUARDED,
        ),
        Mutant(
            "a repeated finish is recognised",
            "    if _is_repeat(snapshot, finish):\n",
            "    if False:\n",
            "TestRepetition::test_the_same_finish_again_is_a_repeat",
        ),
        Mutant(
            "a job that somebody cancelled is no repeat",
            " or job.lease_until is not None:",
            ":",
            f"{RIGHT}::test_a_job_that_was_cancelled_is_no_repeat",
        ),
        Mutant(
            "another outcome is no repeat",
            "return job.status in _LEFT_BY_HOLDER[type(finish.outcome)]",
            "return True",
            "TestRepetition::test_a_completion_is_no_repeat_of_another_outcome",
        ),
        Mutant(
            "the costs that an event tells are those of the row",
            "expect={**inputs.stage_fence, **totals}",
            "expect=inputs.stage_fence",
            "TestCompletion::test_the_event_tells_what_the_stage_has_cost",
        ),
        Mutant(
            "poll token, in the conditions of a finish",
            'return {"poll_token": self.finish.token} if self.finish.by_poll else {}',
            "return {}",
            "TestPolls::test_the_poller_finishes_a_suspended_stage",
        ),
        Mutant(
            "poll token, as it was read",
            "return suspended and stage.poll_token == finish.token",
            "return suspended",
            "TestPolls::test_another_poller_has_lost_it",
        ),
        Mutant(
            "only a suspended stage is polled",
            "suspended = stage.status is StageStatus.SUSPENDED and job.status is JobStatus.SUSPENDED",
            "suspended = True",
            "TestPolls::test_a_stage_that_is_not_suspended_is_not_polled",
        ),
        Mutant(
            "a failing run is decided with all its rows",
            "if run.failure_code is not None or (isinstance",
            "if (isinstance",
            LAST_NEEDS_ALL,
        ),
        Mutant(
            "a failure for good is decided with all rows",
            " or (isinstance(outcome, Failed) and outcome.retry_in is None):",
            ":",
            LAST_NEEDS_ALL,
        ),
        Mutant(
            "the last of a group is decided with all rows",
            "return isinstance(outcome, Completed) and run.group_open <= 1",
            "return False",
            LAST_NEEDS_ALL,
        ),
        Mutant(
            "a wide group is not one stage alone",
            "return len(workflow.group(group_no)) == 1",
            "return True",
            LAST_NEEDS_ALL,
        ),
        Mutant(
            "a failing run waits for no poll",
            "return _cancel_attempt(inputs) if _is_failing(snapshot.run) else _suspend(inputs, outcome)",
            "return _suspend(inputs, outcome)",
            f"{TRANSITIONS}/test_close_stage.py::test_a_failing_run_waits_for_no_other_attempt",
        ),
        Mutant(
            "a failing run waits for no retry",
            "return _cancel_attempt(inputs, outcome) if _is_failing(snapshot.run) else _retry(inputs, outcome)",
            "return _retry(inputs, outcome)",
            f"{TRANSITIONS}/test_close_stage.py::test_a_failing_run_waits_for_no_other_attempt",
        ),
        Mutant(
            "an annotation that is there already is not told again",
            "without_repeats(recorded.annotations, inputs.snapshot.annotations)",
            "without_repeats(recorded.annotations)",
            "TestRecordedFacts::test_an_annotation_that_exists_is_neither_written_nor_published",
        ),
        Mutant(
            "logs of a heartbeat may be there already",
            "*_rows((*logs, *recorded.logs), skip_existing=True)",
            "*_rows((*logs, *recorded.logs))",
            "TestRecordedFacts::test_rows_that_a_heartbeat_wrote_before_are_skipped",
        ),
    ),
)

CLOSE_STAGE = Mutants(
    "engine/transitions/close_stage.py",
    f"{TRANSITIONS}/test_close_stage.py",
    (
        Mutant(
            "the end of a stage is for a run that runs",
            'return {"status": RunStatus.RUNNING, "failure_code": run.failure_code}',
            'return {"failure_code": run.failure_code}',
            ONE_OFF,
        ),
        Mutant(
            "the end of a stage is for a run as failing as it was read",
            'return {"status": RunStatus.RUNNING, "failure_code": run.failure_code}',
            'return {"status": RunStatus.RUNNING}',
            ONE_OFF,
        ),
        Mutant(
            "who is not the last knows it in its group only",
            '"group_no": run.group_no, "group_open": AtLeast(2)}',
            '"group_open": AtLeast(2)}',
            ONE_OFF,
        ),
        Mutant(
            "who is not the last leaves one open",
            '"group_open": AtLeast(2)}',
            '"group_open": AtLeast(1)}',
            ONE_OFF,
        ),
        Mutant(
            "who is the last knows it in its group only",
            '"group_no": run.group_no, "group_open": run.group_open}',
            '"group_open": run.group_open}',
            "test_the_last_stage_must_still_be_the_last_of_the_same_group",
        ),
        Mutant(
            "who is the last is the only one open",
            '"group_no": run.group_no, "group_open": run.group_open}',
            '"group_no": run.group_no}',
            "test_the_last_stage_of_a_group_opens_the_next",
        ),
        Mutant(
            "a run that was read whole may have fewer open by now",
            "expect = _is_running(run) if snapshot.whole else _last_of_group(run)",
            "expect = _last_of_group(run)",
            "test_a_run_that_was_read_whole_fails_whoever_else_has_finished_meanwhile",
        ),
        Mutant(
            "the costs that the run's event tells are those of the row",
            "expect={**expect, **totals}",
            "expect=expect",
            "test_a_run_completes_only_with_the_totals_it_was_read_with",
        ),
        Mutant(
            "fail fast",
            "add=VERSION, expect=_is_running(run)), writes=waiting)",
            "add=VERSION, expect=_is_running(run)))",
            WAITS_FOR_BODIES,
        ),
        Mutant(
            "a failing run waits for the bodies that run",
            "    if not still_running:\n",
            "    if True:\n",
            WAITS_FOR_BODIES,
        ),
        Mutant(
            "a failing run waits for nothing else",
            '"group_open": still_running}',
            '"group_open": run.group_open - 1}',
            WAITS_FOR_BODIES,
        ),
        Mutant(
            "a failing run starts nothing",
            "if run.failure_code is not None or not _is_last(run) or",
            "if not _is_last(run) or",
            WAITS_FOR_BODIES,
        ),
        Mutant(
            "the first failure is that of the run",
            '        code, message = run.failure_code, run.failure_message or ""\n',
            "        pass\n",
            "test_the_first_failure_is_that_of_the_run",
        ),
        Mutant(
            "a run that fails takes all with it",
            "        writes=rest,\n",
            "        writes=(),\n",
            "test_a_run_that_fails_takes_stray_jobs_and_stages_with_it",
        ),
        Mutant(
            "the groups that follow in a rerun are of its generation",
            "generation=last.generation, lease",
            "lease",
            "test_the_next_group_is_of_the_generation_of_the_last_and_keeps_the_costs_of_its_earlier_ones",
        ),
        Mutant(
            "outputs come in the order of the pipeline",
            "for stage in group}\n",
            "for stage in reversed(group)}\n",
            "test_a_wide_group_gives_the_outputs_of_all_its_stages_in_order",
        ),
    ),
)

RELEASE_JOB = Mutants(
    "engine/transitions/release_job.py",
    f"{TRANSITIONS}/test_release_job.py",
    (
        Mutant(
            "fencing token, in the conditions of a release",
            'fence: Condition = {"lease_token": release.token, **',
            "fence: Condition = {**",
            "test_an_expired_lease_is_released_only_if_it_has_run_out_on_the_stores_clock",
        ),
        Mutant(
            "fencing token of a release, as it was read",
            " or job.lease_token != release.token:",
            ":",
            "test_the_lease_of_another_is_left_alone",
        ),
        Mutant(
            "a reaper's second look at the lease",
            '**({"lease_until": PASSED} if release.expired else {})',
            "",
            "test_an_expired_lease_is_released_only_if_it_has_run_out_on_the_stores_clock",
        ),
        Mutant(
            "token taken with the lease",
            '"lease_until": None, "lease_token": None}',
            '"lease_until": None}',
            "test_the_finish_of_who_lost_the_lease_is_lost",
        ),
        Mutant(
            "only a running job is released",
            "if job.status is not JobStatus.RUNNING or job",
            "if job",
            "test_only_a_running_job_is_released",
        ),
        Mutant(
            "a release is for a run that runs",
            "    if run.status is not RunStatus.RUNNING:\n        return Refused(Reason.GHOST)\n",
            "",
            "test_a_run_in_another_state_is_a_ghost",
        ),
        Mutant(
            "a release is for a stage that runs",
            "    if stage.status is not StageStatus.RUNNING:\n        return Refused(Reason.LOST)\n",
            "",
            "test_a_stage_that_is_not_running_is_lost",
        ),
        Mutant(
            "another attempt is for a run that is not failing",
            'expect={"status": RunStatus.RUNNING, "failure_code": None}',
            'expect={"status": RunStatus.RUNNING}',
            "test_a_release_is_written_only_in_a_run_that_is_not_failing",
        ),
        Mutant(
            "a failing run gets no other attempt",
            "    if run.failure_code is not None:\n        return _cancel_attempt(snapshot, release, context)\n",
            "",
            "test_a_lease_lost_in_a_failing_run_ends_its_stage",
        ),
        Mutant(
            "attempt cap",
            "return job.attempt >= job.max_attempts and not",
            "return False and not",
            "test_a_job_whose_attempts_are_spent_fails_with_its_stage",
        ),
        Mutant(
            "an uncounted release is free only so often",
            "return release.uncounted and snapshot.job.attempt < MAX_UNCOUNTED_ATTEMPTS",
            "return release.uncounted",
            "test_after_many_attempts_an_uncounted_release_counts",
        ),
        Mutant(
            "an uncounted release costs no attempt",
            'add={"max_attempts": 1})',
            "add={})",
            "test_an_uncounted_release_does_not_count_the_attempt",
        ),
        Mutant(
            "a release that ends its stage is decided with all rows",
            "return _is_spent(snapshot, release) or snapshot.run.failure_code is not None",
            "return _is_spent(snapshot, release)",
            "test_only_a_release_that_ends_the_stage_needs_the_whole_run",
        ),
    ),
)

OF_FINISHING = (FINISH_STAGE, CLOSE_STAGE, RELEASE_JOB)
