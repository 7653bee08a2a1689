"""Shows that the tests guard what they claim to: takes each guard away in a copy of the tree, and a test must fail.

Run by `make mutants`. Ends with 1 when a mutant survives, or when a patch does not fit the source any more.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("engine", "functions", "tests", "pyproject.toml")
AT_ONCE = 2
TESTS_FAILED = 1

FAULTS = "tests/faults"
KERNEL = "tests/kernel"
SQL = "engine/adapters/sql"
FUNCTIONS = f"{SQL}/functions"
AI = "tests/ai"
FIVE_IN_FLIGHT = "test_of_five_calls_of_thirty_cents_in_flight_the_fourth_and_fifth_are_not_sent_with_a_dollar"
EVERY_KIND = "test_every_kind_of_call_is_in_all_sums_of_a_failed_run_and_of_its_rerun"


@dataclass(frozen=True, slots=True)
class Mutant:
    """In `file`, the first `old` becomes `new`; then one of `test`'s cases on `stores` must fail."""

    guard: str
    file: str
    old: str
    new: str
    test: str
    stores: str = "memory"


MUTANTS = (
    Mutant(
        "fencing token of a job",
        "engine/kernel/apply_guards.py",
        "if change.token not in {None, job.lease_token}:",
        "if change.token == 'never':",
        f"{FAULTS}/test_late_workers.py::test_a_worker_that_lost_its_lease_cannot_commit",
    ),
    Mutant(
        "fencing token of a job, PL/pgSQL",
        f"{FUNCTIONS}/engine_apply_v1.sql",
        "or (job_change ? 'token' and j.lease_token is distinct from job_change->>'token')",
        "",
        f"{FAULTS}/test_late_workers.py::test_a_worker_that_lost_its_lease_cannot_commit",
        "postgres",
    ),
    Mutant(
        "token taken with the lease",
        "engine/kernel/apply_rows.py",
        'return {"lease_token": None}',
        "return {}",
        f"{FAULTS}/test_late_workers.py::test_a_zombie_cannot_commit_while_its_job_waits_for_the_next_worker",
    ),
    Mutant(
        "token taken with the lease, PL/pgSQL",
        f"{FUNCTIONS}/engine_apply_rows_v1.sql",
        "lease_token = case when not taken then lease_token end,",
        "",
        f"{FAULTS}/test_late_workers.py::test_a_zombie_cannot_commit_while_its_job_waits_for_the_next_worker",
        "postgres",
    ),
    Mutant(
        "a reaper's second look at the lease",
        "engine/kernel/apply_guards.py",
        "if change.expired and not lease_ran_out(tx, job):",
        "if False:",
        f"{FAULTS}/test_late_workers.py::test_a_lease_renewed_at_the_last_moment_is_not_taken",
    ),
    Mutant(
        "a reaper's second look at the lease, PL/pgSQL",
        f"{FUNCTIONS}/engine_apply_v1.sql",
        "or (job_change ? 'expired' and (j.lease_until is null or j.lease_until > moment))",
        "",
        f"{FAULTS}/test_late_workers.py::test_a_lease_renewed_at_the_last_moment_is_not_taken",
        "postgres",
    ),
    Mutant(
        "the state a run must be in",
        "engine/kernel/apply_guards.py",
        "if run.status not in ws.run_in:",
        "if False:",
        f"{FAULTS}/test_late_workers.py::test_a_cancel_that_finds_the_run_ended_says_so",
    ),
    Mutant(
        "the state a run must be in, PL/pgSQL",
        f"{FUNCTIONS}/engine_apply_v1.sql",
        "elsif not ws->'run_in' ? r.status then",
        "elsif false then",
        f"{FAULTS}/test_late_workers.py::test_a_cancel_that_finds_the_run_ended_says_so",
        "postgres",
    ),
    Mutant(
        "the version a transition was decided on",
        "engine/kernel/apply_guards.py",
        "if ws.expected_version not in {None, run.version}:",
        "if False:",
        f"{KERNEL}/test_cancelling_and_rerunning.py::test_of_two_transitions_at_once_one_is_a_noop",
    ),
    Mutant(
        "the version a transition was decided on, PL/pgSQL",
        f"{FUNCTIONS}/engine_apply_v1.sql",
        "elsif r.version <> (ws->>'expected_version')::int then",
        "elsif false then",
        f"{KERNEL}/test_cancelling_and_rerunning.py::test_of_two_transitions_at_once_one_is_a_noop",
        "postgres",
    ),
    Mutant(
        "cancellation of all that is open",
        "engine/kernel/apply_ending.py",
        "    _cancel(tx, ws.run_id, OPEN, ws.at)\n    draft.set(group_open=0)",
        "    draft.set(group_open=0)",
        f"{KERNEL}/test_cancelling_and_rerunning.py::test_everything_open_is_cancelled_with_its_run",
    ),
    Mutant(
        "cancellation of all that is open, PL/pgSQL",
        f"{FUNCTIONS}/engine_apply_groups_v1.sql",
        "ok := engine_cancel_v1(r.id, array['PENDING', 'RUNNING', 'SUSPENDED'], at);",
        "",
        f"{KERNEL}/test_cancelling_and_rerunning.py::test_everything_open_is_cancelled_with_its_run",
        "postgres",
    ),
    Mutant(
        "fail fast",
        "engine/kernel/apply_ending.py",
        "    _cancel(tx, ws.run_id, _WAITING, ws.at)\n",
        "",
        f"{KERNEL}/test_executing.py::test_a_failure_for_good_cancels_waiting_siblings_and_stops_running_ones",
    ),
    Mutant(
        "fail fast, PL/pgSQL",
        f"{FUNCTIONS}/engine_apply_groups_v1.sql",
        "ok := engine_cancel_v1(r.id, array['PENDING', 'SUSPENDED'], at);",
        "",
        f"{KERNEL}/test_executing.py::test_a_failure_for_good_cancels_waiting_siblings_and_stops_running_ones",
        "postgres",
    ),
    Mutant(
        "what a failing run still waits for",
        "engine/kernel/apply_rows.py",
        "return ws.job is not None and ws.job.to in",
        "return False and ws.job is not None and ws.job.to in",
        f"{KERNEL}/test_executing.py::test_a_failing_run_ends_with_its_first_error_however_its_siblings_end",
    ),
    Mutant(
        "existing stage records are left alone",
        "engine/adapters/memory/stages.py",
        "if any(present.stage_id == stage.stage_id for present in self._rows.of_run(stage.workflow_run_id)):",
        "if False:",
        f"{FAULTS}/test_fakes_are_strict.py::test_every_store_refuses_duplicates_and_stale_versions",
    ),
    Mutant(
        "a job is not due before its time",
        "engine/kernel/claim.py",
        "return job.due_at <= tx.now()",
        "return True",
        f"{FAULTS}/test_time_zones.py::test_leases_and_backoff_hold_on_the_databases_own_clock",
        "sqlite",
    ),
    Mutant(
        "a job is not due before its time, PL/pgSQL",
        f"{FUNCTIONS}/engine_claim_v1.sql",
        "if (j.status = 'PENDING' and j.due_at <= moment)",
        "if (j.status = 'PENDING')",
        f"{FAULTS}/test_time_zones.py::test_leases_and_backoff_hold_on_the_databases_own_clock",
        "postgres",
    ),
    Mutant(
        "a live lease keeps others out",
        "engine/kernel/claim.py",
        "job.status is Status.RUNNING and lease_ran_out(tx, job) and",
        "job.status is Status.RUNNING and",
        f"{KERNEL}/test_leases_and_reconciling.py::test_a_job_that_is_held_is_not_claimed_again",
    ),
    Mutant(
        "a live lease keeps others out, PL/pgSQL",
        f"{FUNCTIONS}/engine_claim_v1.sql",
        "or (j.status = 'RUNNING' and j.lease_until <= moment and",
        "or (j.status = 'RUNNING' and",
        f"{KERNEL}/test_leases_and_reconciling.py::test_a_job_that_is_held_is_not_claimed_again",
        "postgres",
    ),
    Mutant(
        "notifications follow the commit",
        "engine/kernel/starting.py",
        "    applied = deps.persistence.apply(",
        "    deps.job_transport.notify(notifications_of(group.jobs, run))\n    applied = deps.persistence.apply(",
        f"{FAULTS}/test_claiming.py::test_a_notification_answered_at_once_finds_its_run_running",
    ),
    Mutant(
        "a database that is away fails no run",
        "engine/kernel/starting.py",
        "    except StoreUnavailable:\n        raise\n",
        "",
        f"{FAULTS}/test_claiming.py::test_a_claim_that_breaks_off_keeps_what_it_has_claimed",
    ),
    Mutant(
        "request hash",
        "engine/kernel/idempotency.py",
        "if found.request_hash != request_hash(command):",
        "if False:",
        f"{FAULTS}/test_reruns_and_keys.py::test_the_same_key_with_other_content_is_a_conflict",
    ),
    Mutant(
        "idempotency key",
        "engine/kernel/apply.py",
        "if ws.key is not None and not tx.keys.insert(ws.key):",
        "if False:",
        f"{KERNEL}/test_idempotency.py::test_the_same_create_again_gives_the_same_run_and_notifies_again",
    ),
    Mutant(
        "idempotency key, PL/pgSQL",
        f"{FUNCTIONS}/engine_apply_v1.sql",
        "if found_key is not null then",
        "if false then",
        f"{KERNEL}/test_idempotency.py::test_the_same_create_again_gives_the_same_run_and_notifies_again",
        "postgres",
    ),
    Mutant(
        "retry cap",
        "engine/execution/perform.py",
        "again = job.attempt < job.max_attempts and ",
        "again = ",
        f"{KERNEL}/test_executing.py::test_failures_are_retried_with_growing_waits_up_to_the_cap",
    ),
    Mutant(
        "attempt cap",
        "engine/kernel/leases.py",
        "spent = job.attempt >= job.max_attempts and not uncounted",
        "spent = False",
        f"{FAULTS}/test_reaping.py::test_a_job_that_kills_every_worker_is_given_up_after_its_attempts",
    ),
    Mutant(
        "a lease is released before its invocation ends",
        "engine/hosts/lease_keeper.py",
        "elif self._must_leave():",
        "elif False:",
        "tests/functions/test_host.py::test_a_lease_is_released_when_only_the_reserve_is_left",
        stores="",
    ),
    Mutant(
        "an uncounted release is free only so often",
        "engine/kernel/leases.py",
        "uncounted = uncounted and job.attempt < MOST_ATTEMPTS",
        "uncounted = uncounted",
        f"{KERNEL}/test_executing.py::test_a_job_that_is_released_for_ever_ends",
    ),
    Mutant(
        "what cannot be stored fails its stage",
        "engine/kernel/finishing.py",
        "except InvalidInput as error:",
        "except ZeroDivisionError as error:",
        f"{FAULTS}/test_reaping.py::test_what_cannot_be_stored_fails_its_stage_with_that_cause",
    ),
    Mutant(
        "a job somebody will run is not stuck",
        "engine/kernel/steps/diagnose.py",
        "    if any(snapshot.job_of(stage) for stage in group):\n        return Need.NOTHING\n",
        "",
        f"{FAULTS}/test_reaping.py::test_a_job_that_waits_in_a_long_queue_is_not_stuck",
    ),
    Mutant(
        "the generation of the groups that follow in a rerun",
        "engine/kernel/steps/advance_run.py",
        ", generation=last.generation)",
        ")",
        f"{FAULTS}/test_reruns_and_keys.py::test_a_rerun_of_one_of_two_siblings_runs_both_once",
    ),
    Mutant(
        "jobs of removed stages",
        "engine/kernel/apply_rows.py",
        "if job.stage_record_id in ws.removes and job.status in OPEN:",
        "if False:",
        "tests/contracts/test_memory_persistence.py",
        "remov",
    ),
    Mutant(
        "poll claim",
        "engine/adapters/memory/stages.py",
        "stage.status is not Status.SUSPENDED or _is_being_polled(stage, now):",
        "stage.status is not Status.SUSPENDED:",
        f"{FAULTS}/test_suspension.py::test_a_poll_during_a_poll_does_not_ask_again",
    ),
    Mutant(
        "poll claim, SQL",
        f"{SQL}/stages.py",
        "or_(_C.poll_token.is_(None), _C.poll_until.is_(None), _C.poll_until <= _AT),",
        "",
        f"{FAULTS}/test_suspension.py::test_a_poll_during_a_poll_does_not_ask_again",
        "sqlite or postgres",
    ),
    Mutant(
        "fencing token of a poll",
        "engine/kernel/apply_guards.py",
        "if change.poll_token not in {None, stage.poll_token}:",
        "if False:",
        f"{KERNEL}/test_polling.py::test_a_late_poller_cannot_commit_over_its_successor",
    ),
    Mutant(
        "fencing token of a poll, PL/pgSQL",
        f"{FUNCTIONS}/engine_apply_v1.sql",
        "or (stage_change ? 'poll_token' and s.poll_token is distinct from stage_change->>'poll_token')",
        "",
        f"{KERNEL}/test_polling.py::test_a_late_poller_cannot_commit_over_its_successor",
        "postgres",
    ),
    Mutant(
        "max_wait",
        "engine/kernel/polls.py",
        "return _in_time(poll) or answer",
        "return answer",
        f"{FAULTS}/test_suspension.py::test_waiting_ends_at_max_wait",
    ),
    Mutant(
        "flush claim",
        "engine/adapters/memory/outbox.py",
        "return is_due and (event.claimed_until is None or event.claimed_until <= now)",
        "return is_due",
        f"{FAULTS}/test_events_in_order.py::test_a_flush_during_a_flush_publishes_nothing_twice",
    ),
    Mutant(
        "flush claim, SQL",
        f"{SQL}/outbox.py",
        " or not all(row.is_unclaimed for row in held):",
        ":",
        f"{FAULTS}/test_events_in_order.py::test_a_flush_during_a_flush_publishes_nothing_twice",
        "sqlite or postgres",
    ),
    Mutant(
        "a late flusher marks nothing, SQL",
        f"{SQL}/outbox.py",
        '.where(_IDS, _C.claim_token == bindparam("token"), EVENT_IS_OPEN)',
        ".where(_IDS)",
        f"{KERNEL}/test_publishing.py::test_a_late_flusher_marks_nothing_as_published",
        "sqlite or postgres",
    ),
    Mutant(
        "a refused event holds back the later ones",
        "engine/publishing/outbox.py",
        "                return arrived, refusal\n",
        "                pass\n",
        f"{FAULTS}/test_events_in_order.py::test_a_refused_event_holds_back_the_later_ones_of_its_run_only",
    ),
    Mutant(
        "backoff of a refused event, SQL",
        f"{SQL}/outbox.py",
        "not held[0].is_due or ",
        "",
        f"{KERNEL}/test_publishing.py::test_a_refused_event_waits_five_seconds_then_ten_then_dies",
        "sqlite or postgres",
    ),
    Mutant(
        "plugins that had the event are skipped",
        "engine/publishing/plugins.py",
        " and plugin.id not in skip",
        "",
        f"{FAULTS}/test_events_in_order.py::test_a_replayed_dead_letter_arrives_late_and_only_where_it_failed",
    ),
    Mutant(
        "annotation under a key, once",
        "engine/adapters/memory/annotations.py",
        "            return False\n        self._rows.insert",
        "            pass\n        self._rows.insert",
        f"{KERNEL}/test_annotations.py::test_repeats_under_one_key_are_skipped_with_their_events",
    ),
    Mutant(
        "blobs of the own run only",
        "engine/execution/storage.py",
        'if not key.startswith(f"{self._run_prefix}/"):',
        "if not key.startswith(self._run_prefix):",
        f"{FAULTS}/test_blob_prefixes.py::test_a_stage_cannot_reach_blobs_outside_its_run",
    ),
    Mutant(
        "segments of a blob key",
        "engine/domain/blob_keys.py",
        'bad = _NO_SEGMENT.intersection(key.split("/"))',
        "bad: set[str] = set()",
        f"{FAULTS}/test_blob_prefixes.py::test_a_stage_cannot_reach_blobs_outside_its_run",
    ),
    Mutant(
        "leases are released before bodies are told",
        "engine/hosts/worker.py",
        "        if late:\n",
        "        for slot in late:\n            slot.abandon()\n            slot.join(1.0)\n        if late:\n",
        f"{FAULTS}/test_worker_host.py::test_a_job_that_does_not_end_in_time_is_released_at_once",
    ),
    Mutant(
        "a worker tries again soon",
        "engine/hosts/backoff.py",
        "FIRST_WAIT = 0.1",
        "FIRST_WAIT = 5.0",
        f"{FAULTS}/test_worker_host.py::test_one_failing_dequeue_does_not_idle_the_worker",
        "sqlite",
    ),
    Mutant(
        "a continued stage gets its predecessor's output",
        "engine/kernel/steps/open_group.py",
        "previous={finished_stage: output},",
        "previous={},",
        f"{KERNEL}/test_continuing.py::test_a_finish_may_claim_the_next_stage_in_the_same_transaction",
    ),
    Mutant(
        "guard of a budget, SQL",
        f"{SQL}/spending.py",
        "set_=more, where=_FITS)",
        "set_=more)",
        f"{AI}/test_call_ledger.py::{FIVE_IN_FLIGHT}",
        "sqlite",
    ),
    Mutant(
        "guard of a budget, memory",
        "engine/adapters/memory/ai_calls.py",
        "if cap.scope == scope and _passes(",
        "if cap is None and _passes(",
        f"{AI}/test_call_ledger.py::{FIVE_IN_FLIGHT}",
    ),
    Mutant(
        "an unknown price does not pass a cap",
        "engine/ai/budget.py",
        "if capped is not None and price is None:",
        "if capped is None and price is None:",
        f"{AI}/test_call_ledger.py::test_an_unknown_price_passes_a_cap_on_cost_only_when_it_is_given",
        "",
    ),
    Mutant(
        "a call is in the ledger before it is sent",
        "engine/ai/call_ledger.py",
        "        await shielded(context.log.reserve, record, context.site.caps)\n",
        "        context.site.caps or await shielded(context.log.reserve, record, context.site.caps)\n",
        f"{AI}/test_call_ledger.py::test_a_call_whose_process_died_is_unsettled_and_counts_in_caps",
        "",
    ),
    Mutant(
        "what a stage's calls cost is in its total",
        f"{SQL}/spending.py",
        "            session.write(_SET_TOTAL_OF_STAGE",
        "            session.dialect or session.write(_SET_TOTAL_OF_STAGE",
        f"{AI}/test_call_ledger_of_runs.py::{EVERY_KIND}",
        "sqlite",
    ),
    Mutant(
        "a rerun's stage begins with what the one before cost",
        "engine/kernel/spending.py",
        "if stage.generation == 0:",
        "if stage.generation >= 0:",
        f"{AI}/test_call_ledger.py::test_a_rerun_adds_to_what_the_run_and_its_stages_have_cost",
        "",
    ),
    Mutant(
        "an answer that was paid for is given again",
        "engine/ai/call_ledger.py",
        "if record.workflow_run_id is None or record.attempt <= 1:",
        "if record.workflow_run_id is None or record.attempt >= 1:",
        f"{AI}/test_call_ledger.py::test_what_a_lost_attempt_paid_for_is_given_again_and_stays_its_own",
        "",
    ),
    Mutant(
        "a batch is submitted once for each generation",
        "engine/ai/batches.py",
        "if record.attempt > 1 else ()",
        "if record.attempt < 1 else ()",
        f"{AI}/test_call_ledger_of_runs.py::test_a_stage_that_is_retried_after_it_submitted_does_not_submit_again",
        "sqlite",
    ),
    Mutant(
        "a batch is recorded once",
        "engine/ai/call_log.py",
        "            if not _close(batch_id, calls, tx):",
        "            if not _close(batch_id, calls, tx) and not calls:",
        "tests/contracts/test_ai_call_loggers.py::TestMemory",
        "batch",
    ),
    Mutant(
        "batches cost half",
        "engine/ai/model_info.py",
        "BATCH_DISCOUNT = 0.5",
        "BATCH_DISCOUNT = 1.0",
        f"{AI}/test_call_ledger_of_runs.py::test_half_a_batch_costs_half_the_price_of_what_succeeded",
        "sqlite",
    ),
    Mutant(
        "a topic is made of whole segments",
        f"{SQL}/ai_calls.py",
        'starts_with(_C.topic, f"{where.topic}.")',
        "starts_with(_C.topic, where.topic)",
        "tests/contracts/test_ai_call_loggers.py::TestSqlite",
        "",
    ),
    Mutant(
        "an abandoned stream is recorded",
        "engine/ai/streams.py",
        "        if self._call is not None and not self._ended:\n            self.close()",
        "        pass",
        f"{AI}/test_text.py::test_a_stream_whose_reader_stops_early_is_recorded",
        "",
    ),
    Mutant(
        "files reach Anthropic in its own form",
        "engine/ai/providers/anthropic.py",
        "return content if isinstance(content, str) else [_part(part) for part in content]",
        "return content",
        f"{AI}/test_batch_providers.py",
        "anthropic",
    ),
    Mutant(
        "Google's thoughts are paid for",
        "engine/ai/providers/google.py",
        'usage.get("candidatesTokenCount", 0) + thoughts',
        'usage.get("candidatesTokenCount", 0)',
        f"{AI}/test_batch_providers.py",
        "google",
    ),
)


class DoesNotFit(Exception):
    """The guard's text is not in its file any more; the mutant must be written anew."""


def main() -> int:
    began = time.monotonic()
    with _tree() as tree:
        code = _run(tree, sorted({mutant.test for mutant in MUTANTS}))
    if code:
        print("the tests fail without any mutant")
        return 1
    with ThreadPoolExecutor(AT_ONCE) as pool:
        verdicts = list(pool.map(_verdict, MUTANTS))
    print(f"\n{verdicts.count('killed')} of {len(MUTANTS)} mutants killed in {time.monotonic() - began:.0f} s")
    return 0 if set(verdicts) == {"killed"} else 1


def _verdict(mutant: Mutant) -> str:
    with _tree() as tree:
        try:
            _apply(mutant, tree)
        except DoesNotFit:
            verdict = "DOES NOT FIT"
        else:
            code = _run(tree, [mutant.test], mutant.stores)
            verdict = {0: "SURVIVED", TESTS_FAILED: "killed"}.get(code, f"BROKEN ({code})")
    print(f"{verdict:14} {mutant.guard:55} {mutant.test.rpartition('::')[2]}", flush=True)
    return verdict


@contextmanager
def _tree() -> Iterator[Path]:
    """A copy of all that is patched or run."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, Path(folder, name))
            else:
                shutil.copy(source, Path(folder, name))
        yield Path(folder)


def _apply(mutant: Mutant, tree: Path) -> None:
    path = tree / mutant.file
    text = path.read_text()
    if mutant.old not in text:
        raise DoesNotFit
    path.write_text(text.replace(mutant.old, mutant.new, 1))
    # Its byte code may be as old as the patch, to the second.
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        compiled.unlink()


def _run(tree: Path, tests: list[str], stores: str = "") -> int:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(tree)}
    return subprocess.run(
        [*command, *(["-k", stores] if stores else [])],
        cwd=tree,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
