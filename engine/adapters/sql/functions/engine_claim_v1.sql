-- Claims a job and starts its stage, in one statement. `engine.transitions.claim_job` makes the same decision for other
-- stores. No other SQL function depends on a status. `request`: the fields of ClaimRequest that are not empty, and
--   now    the store's time, if a clock is injected
--   event  stage:started, without the names of the stage
-- Returns {run, stage, job, previous: [[stage id, output], …]}, {later_at}, {} for no job, or {again: true}: other
-- workers took all candidates, and the caller must repeat the claim.
--
-- The race: many workers want the same due jobs. Candidates are read without a lock. Then their runs are locked one by
-- one, and locked runs are skipped, so workers do not wait for each other while other jobs are due. The job is
-- checked again under the lock. If only jobs of locked runs are due, it waits for one such run, holding no other lock.

create function engine_claim_v1(request jsonb) returns jsonb language plpgsql as $engine$
declare
  pools text[] := array(select jsonb_array_elements_text(request->'pools'));
  moment timestamptz := coalesce((request->>'now')::timestamptz, clock_timestamp());
  depth int := 8;
  seen int := 0;
  candidates int;
  candidate record;
  locked_out text;
  holds_a_lock boolean := false;
  answer jsonb;
begin
  if request ? 'job_id' then
    return engine_claim_one_v1(request, request->>'job_id');
  elsif request ? 'run_id' then
    return engine_claim_of_run_v1(request, request->>'run_id', pools);
  end if;
  loop
    candidates := 0;
    for candidate in
      select head.id, head.workflow_run_id
      from unnest(pools) as p (pool)
      cross join lateral (
        select id, workflow_run_id, rank from job
        where status = 'PENDING' and job.pool = p.pool and due_at <= moment
        order by rank, id limit depth
      ) head
      order by head.rank, head.id
      limit depth - seen offset seen
    loop
      candidates := candidates + 1;
      perform from workflow_run where id = candidate.workflow_run_id for no key update skip locked;
      if found then
        holds_a_lock := true;
        answer := engine_claim_one_v1(request, candidate.id);
        if answer ? 'job' then
          return answer;
        end if;
      else
        locked_out := coalesce(locked_out, candidate.workflow_run_id);
      end if;
    end loop;
    exit when candidates < depth - seen;
    seen := depth;
    depth := depth * 8;
  end loop;
  if locked_out is null then
    return '{}';
  elsif holds_a_lock then
    return '{"again": true}';
  end if;
  answer := engine_claim_of_run_v1(request, locked_out, pools);
  return case when answer ? 'job' then answer else '{"again": true}' end;
end
$engine$;

create function engine_claim_of_run_v1(request jsonb, run_id text, pools text[]) returns jsonb
language plpgsql as $engine$
declare
  candidate text;
  answer jsonb;
begin
  perform from workflow_run where id = run_id for no key update;
  for candidate in
    select id from job
    where workflow_run_id = run_id and pool = any (pools) and status = 'PENDING'
      and due_at <= coalesce((request->>'now')::timestamptz, clock_timestamp())
    order by rank, id
  loop
    answer := engine_claim_one_v1(request, candidate);
    if answer ? 'job' then
      return answer;
    end if;
  end loop;
  return '{}';
end
$engine$;

create function engine_claim_one_v1(request jsonb, wanted text) returns jsonb language plpgsql as $engine$
declare
  r workflow_run;
  s workflow_stage;
  j job;
  lease jsonb := request->'lease';
  at timestamptz := request->>'at';
  moment timestamptz;
  lease_end timestamptz;
  previous jsonb;
begin
  select * into r from workflow_run
  where id = (select workflow_run_id from job where id = wanted) for no key update;
  if not found or r.status <> 'RUNNING' or r.failure_code is not null then
    return '{}';
  end if;
  select * into s from workflow_stage
  where id = (select stage_record_id from job where id = wanted) for no key update;
  if not found or s.status not in ('PENDING', 'FAILED', 'SUSPENDED', 'RUNNING') then
    return '{}';
  end if;
  select * into j from job where id = wanted for no key update;
  moment := coalesce((request->>'now')::timestamptz, clock_timestamp());
  lease_end := moment + make_interval(secs => (lease->>'seconds')::float8);
  if j.status = 'RUNNING' and j.lease_token is not distinct from lease->>'token' then
    update job set lease_until = lease_end, updated_at = at where id = j.id returning * into j;
  elsif (j.status = 'PENDING' and j.due_at <= moment)
    or (j.status = 'RUNNING' and j.lease_until <= moment and j.attempt < j.max_attempts) then
    update job set
      status = 'RUNNING', attempt = attempt + 1, worker_id = lease->>'worker_id', lease_token = lease->>'token',
      lease_until = lease_end, updated_at = at
    where id = j.id returning * into j;
    update workflow_stage set
      status = 'RUNNING', started_at = at, completed_at = null, duration_ms = null, updated_at = at,
      version = version + 1
    where id = s.id returning * into s;
    update workflow_run set event_seq = event_seq + 1, last_event_at = greatest(last_event_at, at), updated_at = at
    where id = r.id returning * into r;
    perform engine_append_events_v1(r.id, jsonb_build_array(request->'event' || jsonb_build_object(
      'workflow_run_id', r.id, 'workflow_id', r.workflow_id, 'stage_id', s.stage_id, 'stage_name', s.stage_name,
      'stage_number', s.stage_number, 'generation', s.generation, 'attempt', j.attempt)), null);
  else
    return jsonb_build_object('later_at', case
      when j.status = 'PENDING' then j.due_at
      when j.status = 'RUNNING' and j.attempt < j.max_attempts then j.lease_until end);
  end if;
  select coalesce(jsonb_agg(jsonb_build_array(stage_id, output_data) order by stage_number, id), '[]') into previous
  from workflow_stage
  where workflow_run_id = r.id and execution_group = s.execution_group - 1 and status = 'COMPLETED'
    and output_data is not null;
  return jsonb_build_object('run', to_jsonb(r), 'stage', to_jsonb(s), 'job', to_jsonb(j), 'previous', previous);
end
$engine$;
