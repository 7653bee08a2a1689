"""Guards in the SQL functions."""

from tests.mutants.mutant import Mutant, Mutants

PG8000 = "tests/contracts/test_sql_persistence.py::TestPg8000"
CLAIMS = "tests/unit/sql/test_claims_beside_decisions.py"
POOLED = "tests/unit/sql/test_pooled_connections.py"
RETRIES = "tests/unit/sql/test_retries.py"
CLOCK = "tests/unit/sql/test_store_clock.py"
HOLDS = "test_a_condition_holds_for_what_the_row_has"
REFUSES = "test_a_write_that_cannot_be_done_refuses_what_was_done_before_it"
GOES_ROUND = "pg8000 and not psycopg"
OTHERS_RESULTS = f"{POOLED}::test_after_a_statement_that_broke_half_way_nobody_gets_somebody_elses_results"
FROZEN = f"{RETRIES}::test_a_process_that_is_frozen_while_it_decides_stops_nobody_for_long"

WRITE_SQL = Mutants(
    "engine/adapters/sql/functions/engine_write_v1.sql",
    PG8000,
    (
        Mutant(
            "what was written before a refusal is known, SQL",
            "has_written := has_written or touched > 0;",
            "",
            REFUSES,
        ),
        Mutant(
            "what was written before a refusal is rolled back, SQL",
            "raise exception using errcode = 'WE001', message = 'a condition does not hold';",
            "return '{\"refused\": true}';",
            REFUSES,
        ),
        Mutant(
            "a first write that cannot be done refuses, SQL",
            "elsif touched < (step->>'need')::int then",
            "elsif false then",
            REFUSES,
        ),
        Mutant("equal, SQL", "not equal ? %1$L or t.%1$I", "true or t.%1$I", HOLDS),
        Mutant("equal in a check, SQL", "row_now @> coalesce(step->'equal', '{}')", "true", HOLDS),
        Mutant("one of, SQL", "where not allowed @> (row_now->name))", "where false)", HOLDS),
        Mutant(
            "AtLeast, SQL",
            "where ((row_now->>name)::numeric >= value::numeric) is not true)",
            "where false)",
            HOLDS,
        ),
        Mutant(
            "AtLeast of NULL, SQL",
            "where ((row_now->>name)::numeric >= value::numeric) is not true)",
            "where ((row_now->>name)::numeric >= value::numeric) is false)",
            HOLDS,
        ),
        Mutant(
            "PASSED, SQL",
            "where ((row_now->>name)::timestamptz <= moment) is not true)",
            "where (row_now->>name) is null)",
            "test_a_time_has_passed_from_that_moment_on",
        ),
        Mutant(
            "PASSED of NULL, SQL",
            "where ((row_now->>name)::timestamptz <= moment) is not true)",
            "where ((row_now->>name)::timestamptz <= moment) is false)",
            "test_a_time_that_is_not_set_has_not_passed",
        ),
        Mutant(
            "the condition of an update, SQL",
            "(not has_more or engine_holds_v1(to_jsonb(t), step, moment))",
            "true",
            HOLDS,
        ),
        Mutant("the condition of a check, SQL", " and engine_holds_v1(to_jsonb(r), step, moment));", ");", HOLDS),
        Mutant("rows that exist, SQL", "given) r on conflict do nothing;", "given) r;", REFUSES),
        Mutant(
            "the latest of two times, SQL",
            "greatest(t.%1$I, (latest->>%1$L)::timestamptz)",
            "(latest->>%1$L)::timestamptz",
            "test_a_time_that_is_the_latest_never_goes_back",
        ),
        Mutant(
            "events are numbered up to the last, SQL",
            "earlier := last_sequence - jsonb_array_length(events);",
            "earlier := last_sequence - 1;",
            "test_events_follow_one_another_without_gaps",
        ),
        Mutant(
            "waiting for a lock shortens no lease, SQL",
            "      moment := coalesce((doc->>'now')::timestamptz, clock_timestamp());\n      touched",
            "      touched",
            f"{CLOCK}::test_waiting_for_a_run_shortens_no_lease",
            GOES_ROUND,
        ),
        Mutant(
            "a decision locks its run, SQL",
            "where id = wanted->>'run_id' for no key update;",
            "where id = wanted->>'run_id';",
            "test_a_decision_sees_what_others_have_decided",
        ),
        Mutant(
            "increments, SQL",
            "t.%1$I + (added->>%1$L)::%2$s",
            "(added->>%1$L)::%2$s",
            "test_increments_and_events_of_all_are_counted",
        ),
        Mutant(
            "waiting for a key is bounded, SQL",
            "perform set_config('lock_timeout', doc->>'patience', true);",
            "perform set_config('lock_timeout', '20s', true);",
            "tests/unit/sql/test_one_statement.py::test_a_key_that_another_call_holds_is_waited_for_and_then_reported",
        ),
    ),
)

CLAIM_SQL = Mutants(
    "engine/adapters/sql/functions/engine_claim_v1.sql",
    PG8000,
    (
        Mutant(
            "jobs of a run that runs, SQL",
            "not found or r.status <> 'RUNNING' or",
            "not found or",
            "test_a_run_that_is_not_running_gives_no_jobs",
        ),
        Mutant(
            "jobs of a run that is not failing, SQL",
            " or r.failure_code is not null then",
            " then",
            "test_a_failing_run_gives_no_jobs",
        ),
        Mutant(
            "jobs of a stage that has not ended, SQL",
            "if not found or s.status not in ('PENDING', 'FAILED', 'SUSPENDED', 'RUNNING') then",
            "if not found then",
            "test_a_job_starts_a_stage_that_has_not_ended",
        ),
        Mutant(
            "a claim repeated under its token is the same claim, SQL",
            "j.lease_token is not distinct from lease->>'token'",
            "false",
            "test_the_same_claim_again_is_the_same_claim",
        ),
        Mutant(
            "only a job that runs is held, SQL",
            "if j.status = 'RUNNING' and j.lease_token",
            "if j.lease_token",
            "test_only_a_job_that_waits_or_runs_is_claimed",
        ),
        Mutant(
            "a job is not due before its time, SQL",
            "(j.status = 'PENDING' and j.due_at <= moment)",
            "(j.status = 'PENDING')",
            "test_a_retry_is_claimed_when_it_is_due",
        ),
        Mutant(
            "a live lease keeps others out, SQL",
            "(j.status = 'RUNNING' and j.lease_until <= moment and",
            "(j.status = 'RUNNING' and",
            "test_a_job_is_claimed_once",
        ),
        Mutant(
            "a job is not taken over more often than it may run, SQL",
            " and j.attempt < j.max_attempts) then",
            ") then",
            "test_a_job_without_attempts_left_is_not_taken_over",
        ),
        Mutant(
            "jobs that cannot be had do not hide others, SQL",
            "exit when candidates < depth - seen;",
            "exit;",
            "test_jobs_that_cannot_be_had_do_not_hide_others",
        ),
        Mutant(
            "the lowest rank of all pools wins, SQL",
            "order by head.rank, head.id\n",
            "order by head.id\n",
            "test_the_lowest_rank_wins_then_the_lowest_id",
        ),
        Mutant(
            "outputs of the group before come in the order of the pipeline, SQL",
            "order by stage_number, id), '[]')",
            "order by id), '[]')",
            "test_a_claim_knows_the_outputs_of_the_group_before",
        ),
        Mutant(
            "a run that somebody holds is passed by, SQL",
            "for no key update skip locked;",
            "for no key update;",
            f"{CLAIMS}::test_a_run_that_somebody_holds_is_passed_by",
        ),
        Mutant(
            "a run that somebody holds is waited for if there is no other, SQL",
            "answer := engine_claim_of_run_v1(request, locked_out, pools);",
            "return '{}';",
            f"{CLAIMS}::test_if_all_due_jobs_are_in_runs_that_are_held_one_is_waited_for",
        ),
        Mutant(
            "who waited in vain looks again, SQL",
            "return case when answer ? 'job' then answer else '{\"again\": true}' end;",
            "return answer;",
            f"{CLAIMS}::test_who_waited_in_vain_looks_again",
        ),
        Mutant(
            "nobody waits for a run while holding another, SQL",
            "elsif holds_a_lock then",
            "elsif false then",
            f"{CLAIMS}::test_nobody_waits_for_a_run_while_holding_another",
        ),
        Mutant(
            "waiting for a run shortens no lease of a claim, SQL",
            "clock_timestamp());\n  lease_end :=",
            "now());\n  lease_end :=",
            f"{CLAIMS}::test_waiting_for_a_run_shortens_no_lease",
        ),
    ),
)

OF_SQL_FUNCTIONS = (WRITE_SQL, CLAIM_SQL)
