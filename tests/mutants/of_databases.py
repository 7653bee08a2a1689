"""Guards of what speaks with the databases: connections, retries, statements."""

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

CHANGES_JSON = Mutants(
    "engine/adapters/sql/changes_json.py",
    PG8000,
    (
        Mutant(
            "an insert refuses rows that exist, PostgreSQL",
            '"need": 0 if insert.skip_existing else len(insert.rows)',
            '"need": 0',
            REFUSES,
        ),
        Mutant(
            "an update is for all the rows it names, PostgreSQL",
            '"need": len(update.ids)',
            '"need": 1',
            REFUSES,
        ),
    ),
)

POSTGRES_TRANSACTIONS = Mutants(
    "engine/adapters/sql/postgres_transactions.py",
    POOLED,
    (
        Mutant(
            "rollback of a decision",
            'self._send("rollback")',
            "pass",
            "test_a_decision_leaves_no_transaction_open",
        ),
        Mutant(
            "rollback of a decision whose wait was cancelled",
            "answer: dict[str, Any] = json.loads(self._send(_BEGIN + query))",
            "self._is_open = False\n"
            "        answer: dict[str, Any] = json.loads(self._send(_BEGIN + query))\n"
            "        self._is_open = True",
            "test_a_decision_whose_wait_was_cancelled_leaves_no_transaction_open",
        ),
        Mutant(
            "a frozen decision ends soon",
            "idle_in_transaction_session_timeout = '2s'",
            "idle_in_transaction_session_timeout = '9s'",
            FROZEN,
        ),
        Mutant(
            "a repeated claim gets the job that it holds",
            "if is_repeated and request.job_id is None:",
            "if False:",
            f"{RETRIES}::test_a_claim_whose_answer_was_lost_gets_the_job_it_has_claimed",
        ),
        Mutant(
            "nothing in a document ends its quote",
            "document.replace('$', '\\\\u0024')",
            "document",
            "tests/unit/sql/test_one_statement.py::test_values_that_look_like_sql_are_only_values",
        ),
        Mutant(
            "a key in use is reported as in progress",
            "if sqlstate(error) == LOCK_TIMEOUT and keys:",
            "if False:",
            "tests/unit/sql/test_one_statement.py::test_a_key_that_another_call_holds_is_waited_for_and_then_reported",
        ),
    ),
)

DRIVER = Mutants(
    "engine/adapters/sql/driver.py",
    POOLED,
    (
        Mutant(
            "a connection on which a statement broke is discarded",
            "            discard()\n",
            "            pass\n",
            OTHERS_RESULTS,
        ),
        Mutant(
            "Ctrl-C breaks a statement too",
            "except BaseException as error:",
            "except Exception as error:",
            OTHERS_RESULTS,
        ),
        Mutant(
            "a server that cannot be reached is tried again",
            "    with driver_errors(engine, lambda: None):\n",
            "    if True:\n",
            f"{RETRIES}::test_a_restarting_server_is_waited_for",
        ),
    ),
)

CONNECTIONS = Mutants(
    "engine/adapters/sql/connections.py",
    POOLED,
    (
        Mutant(
            "a connection on which a query broke is discarded",
            "context.is_disconnect, context.invalidate_pool_on_disconnect = True, False",
            "pass",
            OTHERS_RESULTS,
        ),
    ),
)

FAILURES = Mutants(
    "engine/adapters/sql/failures.py",
    RETRIES,
    (
        Mutant(
            "a deadlock is tried again",
            '"40P01", ',
            "",
            "test_one_of_two_deadlocked_transactions_is_run_again",
        ),
        Mutant(
            "a transaction that the server ended because it was idle is run again",
            '"25P03", ',
            "",
            "test_a_transaction_that_the_server_ended_because_it_was_idle_runs_again",
            "psycopg",
        ),
        Mutant(
            "a server that is read-only since a failover is left",
            ', "25006"}',
            "}",
            "test_a_failed_over_connection_is_not_used_again",
        ),
    ),
)

PERSISTENCE = Mutants(
    "engine/adapters/sql/persistence.py",
    RETRIES,
    (
        Mutant(
            "a commit whose answer was lost is not repeated blindly",
            "            if not lost_connection(error):\n                raise\n",
            "            raise\n",
            "test_a_commit_whose_answer_was_lost_is_never_repeated_blindly",
        ),
        Mutant(
            "what a swallowed error rolled back is not told as committed",
            "            if session.failure is not None:\n",
            "            if False:\n",
            "test_a_work_that_swallows_a_refused_statement_is_not_told_it_was_committed",
        ),
    ),
)

STAGES = Mutants(
    "engine/adapters/sql/stages.py",
    "tests/contracts/test_sql_persistence.py",
    (
        Mutant(
            "poll claim, SQL",
            "or_(_C.poll_token.is_(None), _C.poll_until.is_(None), _C.poll_until <= _AT),",
            "",
            "TestSqlite::test_only_one_poller_gets_a_stage_until_its_claim_runs_out",
        ),
    ),
)

OUTBOX = Mutants(
    "engine/adapters/sql/outbox.py",
    "tests/kernel/test_publishing.py",
    (
        Mutant(
            "flush claim, SQL",
            " or not all(row.is_unclaimed for row in held):",
            ":",
            "tests/faults/test_events_in_order.py::test_a_flush_during_a_flush_publishes_nothing_twice",
            "sqlite",
        ),
        Mutant(
            "a claim on later events holds earlier ones, SQL",
            "all(row.is_unclaimed for row in held)",
            "held[0].is_unclaimed",
            "tests/contracts/test_sql_persistence.py::TestSqlite::test_an_event_redriven_before_claimed_ones_waits_for_them",
        ),
        Mutant(
            "of flushers at once one claims, SQL",
            "    .with_for_update()\n",
            "",
            "tests/contracts/test_sql_persistence.py::TestPg8000::test_events_are_claimed_by_one_flusher",
        ),
        Mutant(
            "a late flusher marks nothing, SQL",
            '.where(_IDS, _C.claim_token == bindparam("token"), EVENT_IS_OPEN)',
            ".where(_IDS)",
            "test_a_late_flusher_marks_nothing_as_published",
            "sqlite",
        ),
        Mutant(
            "backoff of a refused event, SQL",
            "not held[0].is_due or ",
            "",
            "test_a_refused_event_waits_five_seconds_then_ten_then_dies",
            "sqlite",
        ),
    ),
)

PREFIXES = Mutants(
    "engine/adapters/sql/prefixes.py",
    "tests/contracts/test_sql_persistence.py",
    (
        Mutant(
            "a prefix is at the beginning",
            "column >= prefix, ",
            "",
            "TestSqlite::test_annotations_are_found_by_all_conditions_in_order",
        ),
        Mutant(
            "a prefix is all of the beginning",
            "column < prefix + _LAST",
            "column >= prefix",
            "TestSqlite::test_annotations_are_found_by_all_conditions_in_order",
        ),
    ),
)

OF_DATABASES = (
    CHANGES_JSON,
    POSTGRES_TRANSACTIONS,
    DRIVER,
    CONNECTIONS,
    FAILURES,
    PERSISTENCE,
    STAGES,
    OUTBOX,
    PREFIXES,
)
