"""Guards of the stores in Python: conditions, refusals, numbers and times, in memory and on SQLite."""

from tests.mutants.mutant import Mutant, Mutants

MEMORY = "tests/contracts/test_memory_persistence.py::TestInMemoryPersistence"
SQLITE = "tests/contracts/test_sql_persistence.py::TestSqlite"
HOLDS = "test_a_condition_holds_for_what_the_row_has"
PASSED = "test_a_time_has_passed_from_that_moment_on"
NOT_SET = "test_a_time_that_is_not_set_has_not_passed"
REFUSES = "test_a_write_that_cannot_be_done_refuses_what_was_done_before_it"
LATEST = "test_a_time_that_is_the_latest_never_goes_back"

CHANGES = Mutants(
    "engine/ports/changes.py",
    MEMORY,
    (
        Mutant(
            "events take their numbers from the run's row",
            'taken = {**self.run.add, "event_seq": len(self.events)}',
            'taken = {**self.run.add, "event_seq": 1}',
            "test_events_follow_one_another_without_gaps",
        ),
        Mutant(
            "events do not lie before those before them",
            'latest={**self.run.latest, "last_event_at": self.at}',
            'latest=self.run.latest, set={**self.run.set, "last_event_at": self.at}',
            "test_time_never_goes_back_along_the_events_of_a_run",
        ),
        Mutant(
            "events of a new run are numbered from one",
            "replace(run, event_seq=len(self.events),",
            "replace(run, event_seq=run.event_seq + len(self.events),",
            "test_events_of_a_new_run_are_numbered_from_one",
        ),
    ),
)

ROW_STORE = Mutants(
    "engine/adapters/row_store.py",
    MEMORY,
    (
        Mutant(
            "a write that cannot be done refuses the whole",
            "if _write_step(rows, step, changes.at) < _required_rows(step):",
            "if _write_step(rows, step, changes.at) < 0:",
            REFUSES,
        ),
        Mutant(
            "an insert refuses rows that exist",
            "        case Insert():\n            return len(step.rows)\n",
            "        case Insert():\n            return 0\n",
            REFUSES,
        ),
        Mutant(
            "an update is for all the rows it names",
            "            return len(step.ids)\n",
            "            return 1\n",
            REFUSES,
        ),
        Mutant(
            "a check that does not hold refuses",
            "        case Check():\n            return 1\n",
            "        case Check():\n            return 0\n",
            REFUSES,
        ),
        Mutant(
            "events are numbered up to the last",
            "first = last - len(changes.events) + 1",
            "first = last",
            "test_events_follow_one_another_without_gaps",
        ),
        Mutant(
            "jobs that cannot be had do not hide others",
            "        if len(jobs) < limit:\n",
            "        if True:\n",
            "test_jobs_that_cannot_be_had_do_not_hide_others",
        ),
        Mutant(
            "outputs of the group before come in the order of the pipeline",
            "return sorted(found, key=lambda stage: (stage.execution_group, stage.stage_number, stage.id))",
            "return sorted(found, key=lambda stage: (stage.execution_group, stage.id))",
            "test_a_claim_knows_the_outputs_of_the_group_before",
        ),
    ),
)

MEMORY_ROWS = Mutants(
    "engine/adapters/memory/rows.py",
    MEMORY,
    (
        Mutant("AtLeast", "value is not None and value >= least", "True", HOLDS),
        Mutant("AtLeast, of NULL", "value is not None and value >= least", "value is None or value >= least", HOLDS),
        Mutant("one of", "            return value in wanted\n", "            return True\n", HOLDS),
        Mutant("PASSED", "value is not None and value <= now", "value is not None", PASSED),
        Mutant("PASSED, of NULL", "value is not None and value <= now", "value is None or value <= now", NOT_SET),
        Mutant("equal", "return bool(value == wanted)", "return True", HOLDS),
        Mutant(
            "the condition of an update", "if row is None or not _holds(", "if row is None or False and _holds(", HOLDS
        ),
        Mutant("the condition of a check", "row is not None and _holds(", "row is not None or _holds(", HOLDS),
        Mutant("rows that exist", "if row_id in table or self._is_taken(record):", "if False:", REFUSES),
        Mutant("names that are taken", "if row_id in table or self._is_taken(record):", "if row_id in table:", REFUSES),
        Mutant("the latest of two times", "return at if before is None else max(before, at)", "return at", LATEST),
        Mutant(
            "the run a row belongs to",
            "            self._tables.belongs(record.workflow_run_id)\n",
            "            pass\n",
            "test_a_row_needs_the_run_it_belongs_to",
        ),
        Mutant(
            "annotations of a deleted stage lose the link",
            "            if annotation.stage_record_id == row_id:\n",
            "            if False:\n",
            "test_a_deleted_stage_leaves_its_annotations_without_the_link",
        ),
    ),
)

MEMORY_TABLE = Mutants(
    "engine/adapters/memory/table.py",
    MEMORY,
    (
        Mutant("rollback", "while not keep and self._undo:", "while False:", REFUSES),
        Mutant(
            "a reading changes nothing",
            "        if not self._open:\n            raise",
            "        if False:\n            raise",
            "test_a_reading_may_not_write",
        ),
    ),
)

MEMORY_PERSISTENCE = Mutants(
    "engine/adapters/memory/persistence.py",
    MEMORY,
    (
        Mutant(
            "one transaction at a time",
            "        with self._lock:\n            self._owner",
            "        with contextmanager(lambda: iter([None]))():\n            self._owner",
            "test_nobody_else_writes_the_run_while_it_is_decided_about",
        ),
    ),
)

MEMORY_STAGES = Mutants(
    "engine/adapters/memory/stages.py",
    MEMORY,
    (
        Mutant(
            "poll claim",
            "stage.status is not StageStatus.SUSPENDED or _is_being_polled(stage, now):",
            "stage.status is not StageStatus.SUSPENDED:",
            "test_only_one_poller_gets_a_stage_until_its_claim_runs_out",
        ),
        Mutant(
            "a poll is for a suspended stage",
            "stage is None or stage.status is not StageStatus.SUSPENDED or",
            "stage is None or",
            "test_a_stage_that_is_not_suspended_is_not_polled",
        ),
    ),
)

SQLITE_STORE = Mutants(
    "engine/adapters/sql/sqlite.py",
    SQLITE,
    (
        Mutant("NULL, SQLite", 'f" AND {name} IS NULL"', 'f" AND {name} IS {name}"', HOLDS),
        Mutant("AtLeast, SQLite", 'f" AND {name} >= ?"', 'f" AND {name} IS NOT ?"', HOLDS),
        Mutant("one of, SQLite", 'text += f" AND {name} IN (', "text += f\" AND 'RUNNING' IN ('RUNNING', ", HOLDS),
        Mutant("PASSED, SQLite", 'f" AND {name} <= ?"', 'f" AND {name} <> ?"', PASSED),
        Mutant("PASSED of NULL, SQLite", 'f" AND {name} <= ?"', "f\" AND coalesce({name}, '') <= ?\"", NOT_SET),
        Mutant("equal, SQLite", 'f" AND {name} = ?"', 'f" AND {name} IS NOT ?"', HOLDS),
        Mutant("rows that exist, SQLite", " ON CONFLICT DO NOTHING", "", REFUSES),
        Mutant("the latest of two times, SQLite", "max(coalesce({name}, ''), ?)", "?", LATEST),
        Mutant(
            "counters are increments, SQLite",
            "{name} = {name} + ?",
            "{name} = ?",
            "test_counters_are_raised_and_lowered",
        ),
        Mutant("rollback, SQLite", 'driver.execute("ROLLBACK")', 'driver.execute("COMMIT")', REFUSES),
        Mutant(
            "waiting for the database shortens no lease, SQLite",
            "        with self._lock:\n"
            "            connection = self._engine.raw_connection()\n"
            "            try:\n"
            "                with _transaction(connection.driver_connection):\n"
            "                    return work(SqliteRows(connection.driver_connection, self._clock.now()))\n",
            "        now = self._clock.now()\n"
            "        with self._lock:\n"
            "            connection = self._engine.raw_connection()\n"
            "            try:\n"
            "                with _transaction(connection.driver_connection):\n"
            "                    return work(SqliteRows(connection.driver_connection, now))\n",
            "tests/unit/sql/test_store_clock.py::test_waiting_for_a_run_shortens_no_lease",
            "sqlite",
        ),
        Mutant(
            "a stage does not start before the lock it waited for",
            "at = max(request.at, rows.now) if self._is_real_time else request.at",
            "at = request.at",
            "tests/unit/sql/test_store_clock.py::test_a_stage_does_not_start_before_the_lock_it_waited_for",
        ),
    ),
)

OUTBOX_MEMORY = Mutants(
    "engine/adapters/memory/outbox.py",
    MEMORY,
    (
        Mutant(
            "flush claim",
            "return event.claimed_until is not None and event.claimed_until > now",
            "return False",
            "tests/faults/test_events_in_order.py::test_a_flush_during_a_flush_publishes_nothing_twice",
            "memory",
        ),
        Mutant(
            "a claim on later events holds earlier ones",
            " or any(_is_claimed(event, now) for event in events)",
            "",
            "test_an_event_redriven_before_claimed_ones_waits_for_them",
        ),
        Mutant(
            "a late flusher marks nothing",
            "return event is not None and event.claim_token == token and _is_open(event)",
            "return event is not None",
            "tests/kernel/test_publishing.py::test_a_late_flusher_marks_nothing_as_published",
            "memory",
        ),
    ),
)

OF_STORES = (
    CHANGES,
    ROW_STORE,
    MEMORY_ROWS,
    MEMORY_TABLE,
    MEMORY_PERSISTENCE,
    MEMORY_STAGES,
    SQLITE_STORE,
    OUTBOX_MEMORY,
)
