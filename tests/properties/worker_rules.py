from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from engine.domain.ai_calls import AICallRecord, CallState, stage_scope
from engine.domain.lifecycle import JobStatus
from engine.domain.records import LogLevel
from engine.execution.attempt import Attempt, new_attempt
from engine.kernel import JobExecute
from engine.kernel.host_commands import JobHeartbeat, JobRelease, JobStart, JobTimeout, LeaseRenewal
from engine.ports.persistence import Claim, ClaimRequest, Lease, NoClaim
from tests.kernel.bench import LEASE
from tests.properties.behaviours import OTHER_POOL, Behaviour, Said, behaviours
from tests.properties.benches import Answers, Held, StoreBench
from tests.properties.machine_state import MachineState, any_one, pick

POOLS = ("default", OTHER_POOL)

workers = st.sampled_from(["w1", "w2"])
pools = st.sampled_from([POOLS, POOLS, ("default",), (OTHER_POOL,)])


class WorkerRules(MachineState):
    # Jobs are claimed

    @precondition(lambda self: self.rows["jobs"])
    @rule(
        seconds=st.sampled_from([0.0, 0.0, 300.0]),
        among=st.sampled_from(["all", "of a run", "this one"]),
        which=any_one,
        worker=workers,
        pools=pools,
    )
    def deliver(self, seconds: float, among: str, which: int, worker: str, pools: tuple[str, ...]) -> None:
        self.wait(seconds)
        match among:
            case "all":
                self._start(worker=worker, pools=pools)
            case "of a run":
                self._start(worker=worker, pools=pools, run_id=self.run_id(which))
            case _:
                self._start(worker=worker, job_id=pick(self.rows["jobs"], which).id)

    @precondition(lambda self: self.held)
    @rule(which=any_one)
    def claim_under_the_same_token(self, which: int) -> None:
        """As whoever lost the answer to a claim does."""
        held = self.attempt(which)

        def claim(bench: StoreBench) -> Attempt | NoClaim:
            job = held.attempts[bench.store].claim.job
            lease = Lease(worker_id=job.worker_id or "", token=job.lease_token or "", seconds=LEASE)
            claim = bench.persistence.claim(ClaimRequest(lease=lease, at=bench.clock.now(), job_id=job.id))
            return new_attempt(claim, bench.kernel.deps) if isinstance(claim, Claim) else claim

        self.hold(self.do("claim under the same token", claim))

    # Bodies run

    @precondition(lambda self: self.has("jobs", JobStatus.PENDING))
    @rule(behaviours=st.lists(behaviours, min_size=1, max_size=5), seconds=st.sampled_from([0.0, 0.0, 10.0]))
    def work(self, behaviours: list[Behaviour], seconds: float) -> None:
        """A worker without faults."""
        self.wait(seconds)
        for behaviour in behaviours:
            held = self._start()
            if held is not None:
                self.held.remove(held)
                self._perform(held, behaviour)
                self.finish_held(held)

    @precondition(lambda self: self.has("jobs", JobStatus.PENDING))
    @rule(
        behaviours=st.lists(behaviours, min_size=2, max_size=4),
        last_first=st.booleans(),
        left=st.sampled_from([0, 0, 1, 2]),
    )
    def work_side_by_side(self, behaviours: list[Behaviour], last_first: bool, left: int) -> None:
        """Workers that start together and end one after the other, but for some that are left with their attempts."""
        begun = [(held, behaviour) for behaviour in behaviours if (held := self._start()) is not None]
        for held, behaviour in (begun[::-1] if last_first else begun)[left:]:
            self.held.remove(held)
            self._perform(held, behaviour)
            self.finish_held(held)

    @precondition(lambda self: self.has("jobs", JobStatus.PENDING))
    @rule(behaviour=behaviours)
    def work_on_all(self, behaviour: Behaviour) -> None:
        """A worker that continues from stage to stage."""
        self.work_off(behaviour)

    @precondition(lambda self: self.held)
    @rule(which=any_one, behaviour=behaviours, go_on=st.booleans(), forget=st.booleans())
    def finish(self, which: int, behaviour: Behaviour, go_on: bool, forget: bool) -> None:
        """What is not forgotten may be finished again, with another outcome too."""
        held = self.attempt(which)
        self._perform(held, behaviour)
        self.finish_held(held, go_on=go_on)
        if forget:
            self.held.remove(held)

    @precondition(lambda self: self.rows["jobs"])
    @rule(
        which=any_one,
        behaviour=behaviours,
        key=st.sampled_from([None, None, "k1"]),
        holds=st.booleans(),
    )
    def execute(self, which: int, behaviour: Behaviour, key: str | None, holds: bool) -> None:
        job = pick(self.rows["jobs"], which)
        run = self.rows["runs"][job.workflow_run_id]
        self.know_key("job.execute", key, run.tenant)
        self.script.behaviour = behaviour
        command = JobExecute(
            workflow_run_id=run.id,
            workflow_id=run.workflow_id,
            stage_id=job.stage_id,
            job_id=job.id if holds else None,
            lease_token=job.lease_token if holds else None,
            idempotency_key=key,
        )
        self.do("execute", lambda bench: bench.dispatch(command))

    # Leases are kept and lost

    @precondition(lambda self: self.held)
    @rule(which=any_one, said=st.frozensets(st.sampled_from([Said.LOG, Said.PROGRESS])), from_outside=st.booleans())
    def keep_lease(self, which: int, said: frozenset[Said], from_outside: bool) -> None:
        held, job = self.attempt(which), self._claim(which).job
        renewal = LeaseRenewal(
            workflow_run_id=job.workflow_run_id, job_id=job.id, lease_token=job.lease_token or "", lease_seconds=LEASE
        )

        def beat(bench: StoreBench) -> object:
            attempt = held.attempts[bench.store]
            if Said.LOG in said:
                attempt.recorder.log(LogLevel.DEBUG, "alive", {"n": 1})
            if Said.PROGRESS in said:
                attempt.recorder.progress(0.5, "half")
            return bench.dispatch(JobHeartbeat(attempt=attempt, lease_seconds=LEASE))

        if from_outside:
            self.do("renew a lease", lambda bench: bench.dispatch(renewal))
        else:
            self.do("heartbeat", beat)

    @precondition(lambda self: self.held)
    @rule(which=any_one, seconds=st.sampled_from([0.0, 0.0, 30.0]), reason=st.sampled_from([None, "shutdown"]))
    def release_lease(self, which: int, seconds: float, reason: str | None) -> None:
        attempts = self.attempt(which).attempts
        self.do(
            "release a lease",
            lambda bench: bench.dispatch(JobRelease(attempt=attempts[bench.store], seconds=seconds, reason=reason)),
        )

    @precondition(lambda self: self.held)
    @rule(which=any_one)
    def time_out(self, which: int) -> None:
        job = self._claim(which).job
        command = JobTimeout(
            workflow_run_id=job.workflow_run_id, job_id=job.id, lease_token=job.lease_token or "", seconds=1
        )
        self.do("time out", lambda bench: bench.dispatch(command))

    @precondition(lambda self: self.held)
    @rule(which=any_one, cost=st.sampled_from([None, 0.25]))
    def book_model_call(self, which: int, cost: float | None) -> None:
        """Totals of run and stage rise while the attempt is under way."""
        claim = self._claim(which)

        def book(bench: StoreBench) -> object:
            now = bench.clock.now()
            call = AICallRecord(
                id=bench.kernel.deps.ids.new(),
                topic=f"workflow.{claim.run.id}.stage.{claim.stage.stage_id}",
                call_type="text",
                model_key="m",
                state=CallState.SETTLED,
                created_at=now,
                updated_at=now,
                workflow_run_id=claim.run.id,
                stage_record_id=claim.stage.id,
                stage_id=claim.stage.stage_id,
                generation=claim.stage.generation,
                scope=stage_scope(claim.run.id, claim.stage.stage_id),
                input_tokens=3,
                cost=cost,
            )
            return bench.persistence.transact(lambda tx: tx.ai_calls.insert([call]))

        self.do("book a model call", book)

    def work_off(self, behaviour: Behaviour) -> None:
        """Runs whatever can be claimed, as a host does."""
        following = self._start()
        while following is not None:
            self.held.remove(following)
            self._perform(following, behaviour)
            following = self.finish_held(following, go_on=True) or self._start()

    def _start(
        self,
        *,
        worker: str = "w1",
        pools: tuple[str, ...] = POOLS,
        run_id: str | None = None,
        job_id: str | None = None,
    ) -> Held | None:
        command = JobStart(worker_id=worker, lease_seconds=LEASE, pools=pools, run_id=run_id, job_id=job_id)
        started: Answers = self.do("claim", lambda bench: bench.dispatch(command))
        return self.hold(started)

    def _perform(self, held: Held, behaviour: Behaviour) -> None:
        self.script.behaviour = behaviour
        self.perform_held(held)

    def _claim(self, which: int) -> Claim:
        attempt: Attempt = self.benches.the(self.attempt(which).attempts)
        return attempt.claim
