"""Guards of commands, publishing, hosts and blobs."""

from tests.mutants.mutant import Mutant, Mutants

FAULTS = "tests/faults"
KERNEL = "tests/kernel"
REPEATED = f"{KERNEL}/test_creating_and_claiming.py::test_a_command_whose_answer_was_lost_tells_what_it_did"

DECIDING = Mutants(
    "engine/kernel/deciding.py",
    KERNEL,
    (
        Mutant(
            "a decision whose answer was lost recognises its repetition",
            "return run.version == before.version + 1 and run.updated_at == changes.at",
            "return False",
            REPEATED,
            "memory",
        ),
        Mutant(
            "what somebody else has written is no repetition",
            "return run.version == before.version + 1 and run.updated_at == changes.at",
            "return True",
            f"{KERNEL}/test_creating_and_claiming.py::test_a_repeated_command_does_not_mistake_the_write_of_another_for_its_own",
            "memory",
        ),
        Mutant(
            "who turns out to be the last reads the whole run",
            "if whole or needs_whole_run(snapshot):",
            "if whole:",
            f"{KERNEL}/test_creating_and_claiming.py::test_a_parallel_last_group_gives_an_object_of_outputs",
            "memory",
        ),
        Mutant(
            "annotations that are there already are known to a finish",
            "if needs_known(annotations):",
            "if False:",
            f"{KERNEL}/test_annotations.py::test_a_retried_body_under_one_key_annotates_once",
            "memory",
        ),
        Mutant(
            "a rerun's stages begin with what those before cost",
            "    if stage.generation == 0:\n",
            "    if True:\n",
            "tests/ai/test_call_ledger.py::test_a_rerun_adds_to_what_the_run_and_its_stages_have_cost",
        ),
    ),
)

JOB_ATTEMPT = Mutants(
    "engine/kernel/handlers/job_attempt.py",
    KERNEL,
    (
        Mutant(
            "what cannot be stored fails its stage",
            "except (InvalidInput, StoreError) as error:",
            "except StoreError as error:",
            f"{FAULTS}/test_reaping.py::test_what_cannot_be_stored_fails_its_stage_with_that_cause",
            "memory",
        ),
        Mutant(
            "what the store refuses fails its stage",
            "except (InvalidInput, StoreError) as error:",
            "except InvalidInput as error:",
            f"{FAULTS}/test_refused_writes.py::test_a_refused_outcome_fails_the_stage",
            "memory",
        ),
        Mutant(
            "a store that may recover fails no stage",
            "except (StoreUnavailable, StoreBehind):",
            "except ZeroDivisionError:",
            f"{FAULTS}/test_refused_writes.py::test_a_store_that_may_recover_leaves_the_stage_running",
            "memory",
        ),
        Mutant(
            "an error after the commit is not swallowed",
            "if isinstance(error, StoreError) and _has_ended(command.attempt.claim.job, deps):",
            "if False:",
            f"{FAULTS}/test_refused_writes.py::test_an_error_after_the_commit_is_raised_and_changes_nothing",
            "memory",
        ),
        Mutant(
            "a refused finish is decided on the rows",
            "if isinstance(written, Refused) and written.reason is None:",
            "if False:",
            f"{KERNEL}/test_continuing.py::test_the_last_of_a_group_continues_with_all_outputs",
            "memory",
        ),
        Mutant(
            "a repeated finish goes on",
            "    if written.reason is Reason.REPEAT:\n",
            "    if False:\n",
            f"{KERNEL}/test_continuing.py::test_a_finish_whose_answer_was_lost_still_continues",
            "memory",
        ),
        Mutant(
            "logs of a heartbeat that failed are not lost",
            "        attempt.recorder.undo_take(recorded)\n",
            "",
            f"{KERNEL}/test_executing.py::test_a_heartbeat_that_fails_loses_no_logs",
            "memory",
        ),
        Mutant(
            "a cancelled body is told",
            "        attempt.cancellation.cancelled = True\n",
            "        pass\n",
            f"{KERNEL}/test_executing.py::test_a_heartbeat_brings_the_cancellation_to_the_body",
            "memory",
        ),
        Mutant(
            "only the next stage of the same pool is claimed along",
            " or group[0].pool != claim.job.pool",
            "",
            f"{KERNEL}/test_continuing.py::test_a_finish_claims_nothing_that_is_not_for_it",
            "memory",
        ),
        Mutant(
            "a continued stage gets its predecessor's output",
            "previous = {claim.stage.stage_id: outcome.output}",
            "previous = {}",
            f"{KERNEL}/test_continuing.py::test_a_finish_may_claim_the_next_stage_in_the_same_transaction",
            "memory",
        ),
        Mutant(
            "the result of a failure is not kept under its key",
            'if result is None or result.ghost or result.outcome == "failed":',
            "if result is None:",
            f"{KERNEL}/test_executing.py::test_failures_and_ghosts_free_the_callers_key",
            "memory",
        ),
    ),
)

PERFORM = Mutants(
    "engine/execution/perform.py",
    KERNEL,
    (
        Mutant(
            "retry cap",
            "again = job.attempt < job.max_attempts and ",
            "again = ",
            f"{KERNEL}/test_executing.py::test_failures_are_retried_with_growing_waits_up_to_the_cap",
            "memory",
        ),
        Mutant(
            "data that does not fit is never retried",
            " and stage.retry.allows(error)",
            "",
            f"{KERNEL}/test_executing.py::test_data_that_does_not_fit_is_never_retried",
            "memory",
        ),
        Mutant(
            "an input is made in the order of the pipeline",
            "return by_stage({stage.id: claim.previous[stage.id] for stage in group})",
            "return by_stage({name: claim.previous[name] for name in sorted(claim.previous)})",
            f"{KERNEL}/test_creating_and_claiming.py::test_the_outputs_of_a_group_are_ordered_as_in_the_pipeline",
            "memory",
        ),
    ),
)

IDEMPOTENCY = Mutants(
    "engine/kernel/idempotency.py",
    KERNEL,
    (
        Mutant(
            "request hash",
            "if found.request_hash != request_hash(command):",
            "if False:",
            f"{FAULTS}/test_reruns_and_keys.py::test_the_same_key_with_other_content_is_a_conflict",
            "memory",
        ),
        Mutant(
            "an execution in progress is not begun again",
            "if found.expires_at is not None and found.expires_at <= now:",
            "if True:",
            f"{KERNEL}/test_idempotency.py::test_an_execution_in_progress_is_not_begun_again_until_its_key_expires",
            "memory",
        ),
    ),
)

STARTING = Mutants(
    "engine/kernel/starting.py",
    FAULTS,
    (
        Mutant(
            "notifications follow the commit",
            "    written = deps.persistence.write(first)",
            "    if isinstance(first, Changes):\n"
            "        notify(notifications(first.inserted(JobRecord), run), deps)\n"
            "    written = deps.persistence.write(first)",
            f"{FAULTS}/test_claiming.py::test_a_notification_answered_at_once_finds_its_run_running",
            "memory",
        ),
        Mutant(
            "a database that is away fails no run",
            "    except StoreUnavailable:\n        raise\n",
            "",
            f"{FAULTS}/test_claiming.py::test_a_claim_that_breaks_off_keeps_what_it_has_claimed",
        ),
    ),
)

RERUN_FROM = Mutants(
    "engine/kernel/handlers/run_rerun_from.py",
    FAULTS,
    (
        Mutant(
            "a rerun is for the run as it was read",
            "same = locked.run.version == snapshot.run.version",
            "same = True",
            f"{FAULTS}/test_late_workers.py::test_a_rerun_of_a_run_that_was_rerun_and_ended_meanwhile_is_refused",
            "memory",
        ),
        Mutant(
            "stages before that of a rerun must have completed",
            "    if missing:\n",
            "    if False:\n",
            f"{KERNEL}/test_cancelling_and_rerunning.py::test_a_rerun_from_nowhere_is_refused",
            "memory",
        ),
    ),
)

RUNNING = Mutants(
    "engine/kernel/running.py",
    KERNEL,
    (
        Mutant(
            "a reaper fails the run that it has seen",
            "if version not in {None, snapshot.run.version}:",
            "if False:",
            f"{KERNEL}/test_leases_and_reconciling.py::test_a_run_that_changes_while_it_is_reaped_is_not_failed",
            "memory",
        ),
    ),
)

POLLS = Mutants(
    "engine/kernel/polls.py",
    FAULTS,
    (
        Mutant(
            "max_wait",
            "return _timed_out(poll) or answer",
            "return answer",
            f"{FAULTS}/test_suspension.py::test_waiting_ends_at_max_wait",
            "memory",
        ),
        Mutant(
            "who meets another poller's claim comes again after it",
            "        deps.scheduler.wake(_poll_command(stage), stage.poll_until)\n",
            "        pass\n",
            f"{KERNEL}/test_polling.py::test_a_message_that_meets_another_poller_comes_again_after_its_claim",
            "memory",
        ),
        Mutant(
            "what the store refuses fails the stage of a poll",
            "except (InvalidInput, StoreError) as error:",
            "except InvalidInput as error:",
            f"{FAULTS}/test_refused_writes.py::test_a_refused_answer_of_a_poll_fails_the_stage",
            "memory",
        ),
        Mutant(
            "an error after the commit of a poll is not swallowed",
            "if job is None or job.status is not JobStatus.SUSPENDED:",
            "if False:",
            f"{FAULTS}/test_refused_writes.py::test_an_error_after_the_commit_of_a_poll_is_raised",
            "memory",
        ),
    ),
)

PUBLISHING = Mutants(
    "engine/publishing/outbox.py",
    FAULTS,
    (
        Mutant(
            "a refused event holds back the later ones",
            "                return delivered_count, refusal\n",
            "                pass\n",
            f"{FAULTS}/test_events_in_order.py::test_a_refused_event_holds_back_the_later_ones_of_its_run_only",
            "memory",
        ),
        Mutant(
            "a flusher that lost its claim looks again when the other claim has ended",
            "    if published < len(emitted):\n",
            "    if False:\n",
            "tests/kernel/test_publishing.py::test_a_late_flusher_marks_nothing_as_published",
            "memory",
        ),
    ),
)

PLUGINS = Mutants(
    "engine/publishing/plugins.py",
    FAULTS,
    (
        Mutant(
            "plugins that had the event are skipped",
            " and plugin.id not in skip",
            "",
            f"{FAULTS}/test_events_in_order.py::test_a_replayed_dead_letter_arrives_late_and_only_where_it_failed",
            "memory",
        ),
    ),
)

LEASE_KEEPER = Mutants(
    "engine/hosts/lease_keeper.py",
    "tests/functions/test_host.py",
    (
        Mutant(
            "a lease is released before its invocation ends",
            "elif self._must_leave():",
            "elif False:",
            "test_a_lease_is_released_when_only_the_reserve_is_left",
        ),
    ),
)

WORKER = Mutants(
    "engine/hosts/worker.py",
    FAULTS,
    (
        Mutant(
            "leases are released before bodies are told",
            "        if late:\n",
            "        for slot in late:\n            slot.abandon()\n            slot.join(1.0)\n        if late:\n",
            f"{FAULTS}/test_worker_host.py::test_a_job_that_does_not_end_in_time_is_released_at_once",
            "memory",
        ),
    ),
)

BACKOFF = Mutants(
    "engine/hosts/backoff.py",
    FAULTS,
    (
        Mutant(
            "a worker tries again soon",
            "FIRST_WAIT = 0.1",
            "FIRST_WAIT = 5.0",
            f"{FAULTS}/test_worker_host.py::test_one_failing_dequeue_does_not_idle_the_worker",
            "sqlite",
        ),
    ),
)

STORAGE = Mutants(
    "engine/execution/storage.py",
    FAULTS,
    (
        Mutant(
            "blobs of the own run only",
            'if not key.startswith(f"{self._run_prefix}/"):',
            "if not key.startswith(self._run_prefix):",
            f"{FAULTS}/test_blob_prefixes.py::test_a_stage_cannot_reach_blobs_outside_its_run",
        ),
    ),
)

BLOB_KEYS = Mutants(
    "engine/domain/blob_keys.py",
    FAULTS,
    (
        Mutant(
            "segments of a blob key",
            'bad = _NO_SEGMENT.intersection(key.split("/"))',
            "bad: set[str] = set()",
            f"{FAULTS}/test_blob_prefixes.py::test_a_stage_cannot_reach_blobs_outside_its_run",
        ),
    ),
)

OF_COMMANDS = (
    DECIDING,
    JOB_ATTEMPT,
    PERFORM,
    IDEMPOTENCY,
    STARTING,
    RERUN_FROM,
    RUNNING,
    POLLS,
    PUBLISHING,
    PLUGINS,
    LEASE_KEEPER,
    WORKER,
    BACKOFF,
    STORAGE,
    BLOB_KEYS,
)
