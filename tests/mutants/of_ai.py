"""Guards of model calls: budgets, the ledger, batches."""

from tests.mutants.mutant import Mutant, Mutants

LEDGER = "tests/ai/test_call_ledger.py"
OF_RUNS = "tests/ai/test_call_ledger_of_runs.py"
FIVE_IN_FLIGHT = "test_of_five_calls_of_thirty_cents_in_flight_the_fourth_and_fifth_are_not_sent_with_a_dollar"

SPENDING = Mutants(
    "engine/adapters/sql/spending.py",
    LEDGER,
    (
        Mutant("guard of a budget, SQL", "set_=more, where=_FITS)", "set_=more)", FIVE_IN_FLIGHT, "sqlite"),
        Mutant(
            "what a stage's calls cost is in its total",
            "            session.write(_SET_TOTAL_OF_STAGE",
            "            session.dialect or session.write(_SET_TOTAL_OF_STAGE",
            f"{OF_RUNS}::test_every_kind_of_call_is_in_all_sums_of_a_failed_run_and_of_its_rerun",
            "sqlite",
        ),
    ),
)

MEMORY_CALLS = Mutants(
    "engine/adapters/memory/ai_calls.py",
    LEDGER,
    (
        Mutant(
            "guard of a budget, memory",
            "if cap.scope == scope and _exceeds(",
            "if cap is None and _exceeds(",
            FIVE_IN_FLIGHT,
        ),
    ),
)

SQL_CALLS = Mutants(
    "engine/adapters/sql/ai_calls.py",
    "tests/contracts/test_ai_call_loggers.py",
    (
        Mutant(
            "a topic is made of whole segments",
            'starts_with(_C.topic, f"{where.topic}.")',
            "starts_with(_C.topic, where.topic)",
            "TestSqlite",
        ),
    ),
)

BUDGET = Mutants(
    "engine/ai/budget.py",
    LEDGER,
    (
        Mutant(
            "an unknown price does not pass a cap",
            "if capped is not None and price is None:",
            "if capped is None and price is None:",
            "test_an_unknown_price_passes_a_cap_on_cost_only_when_it_is_given",
        ),
    ),
)

CALL_LEDGER = Mutants(
    "engine/ai/call_ledger.py",
    LEDGER,
    (
        Mutant(
            "a call is in the ledger before it is sent",
            "        await shielded(context.log.reserve, record, context.site.caps)\n",
            "        context.site.caps or await shielded(context.log.reserve, record, context.site.caps)\n",
            "test_a_call_whose_process_died_is_unsettled_and_counts_in_caps",
        ),
        Mutant(
            "an answer that was paid for is given again",
            "if record.workflow_run_id is None or record.attempt <= 1:",
            "if record.workflow_run_id is None or record.attempt >= 1:",
            "test_what_a_lost_attempt_paid_for_is_given_again_and_stays_its_own",
        ),
    ),
)

BATCHES = Mutants(
    "engine/ai/batches.py",
    OF_RUNS,
    (
        Mutant(
            "a batch is submitted once for each generation",
            "if record.attempt > 1 else ()",
            "if record.attempt < 1 else ()",
            "test_a_stage_that_is_retried_after_it_submitted_does_not_submit_again",
            "sqlite",
        ),
    ),
)

CALL_LOG = Mutants(
    "engine/ai/call_log.py",
    "tests/contracts/test_ai_call_loggers.py",
    (
        Mutant(
            "a batch is recorded once",
            "            if not _close(batch_id, calls, tx):",
            "            if not _close(batch_id, calls, tx) and not calls:",
            "TestMemory",
            "batch",
        ),
    ),
)

MODEL_INFO = Mutants(
    "engine/ai/model_info.py",
    OF_RUNS,
    (
        Mutant(
            "batches cost half",
            "BATCH_DISCOUNT = 0.5",
            "BATCH_DISCOUNT = 1.0",
            "test_half_a_batch_costs_half_the_price_of_what_succeeded",
            "sqlite",
        ),
    ),
)

STREAMS = Mutants(
    "engine/ai/streams.py",
    "tests/ai/test_text.py",
    (
        Mutant(
            "an abandoned stream is recorded",
            "        if self._call is not None and not self._ended:\n            self.close()",
            "        pass",
            "test_a_stream_whose_reader_stops_early_is_recorded",
        ),
    ),
)

ANTHROPIC = Mutants(
    "engine/ai/providers/anthropic.py",
    "tests/ai/test_batch_providers.py",
    (
        Mutant(
            "files reach Anthropic in its own form",
            "return content if isinstance(content, str) else [_part(part) for part in content]",
            "return content",
            "",
            "anthropic",
        ),
    ),
)

GOOGLE = Mutants(
    "engine/ai/providers/google.py",
    "tests/ai/test_batch_providers.py",
    (
        Mutant(
            "Google's thoughts are paid for",
            'usage.get("candidatesTokenCount", 0) + thoughts',
            'usage.get("candidatesTokenCount", 0)',
            "",
            "google",
        ),
    ),
)

OF_AI = (
    SPENDING,
    MEMORY_CALLS,
    SQL_CALLS,
    BUDGET,
    CALL_LEDGER,
    BATCHES,
    CALL_LOG,
    MODEL_INFO,
    STREAMS,
    ANTHROPIC,
    GOOGLE,
)
