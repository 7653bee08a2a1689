-- One transition of one run in one statement. `engine.ports.write_set` tells the rules; `engine.kernel.apply` is the
-- same in Python. Fields of `ws` are those of WriteSet, absent where they are empty, and:
--   now      the store's time where a clock was injected
--   illegal  from which of the guarded states a move is not in the transition tables
--   repeats  (in job) where a job is found whose holder made this change already
--   rewrites true when `run` patches columns that transitions leave alone

create function engine_apply_v1(ws jsonb) returns jsonb language plpgsql as $engine$
declare
  answer jsonb;
  found_key jsonb;
begin
  if ws ? 'key' then
    found_key := engine_take_key_v1(ws->'key');
    if found_key is not null then
      return jsonb_build_object('verdict', 'KEY_EXISTS', 'key', found_key);
    end if;
  end if;
  answer := case when ws ? 'create' then engine_create_v1(ws) else engine_change_v1(ws) end;
  if ws ? 'key' and answer->>'verdict' <> 'APPLIED' then
    delete from idempotency_key
    where tenant = ws->'key'->>'tenant' and command_type = ws->'key'->>'command_type' and key = ws->'key'->>'key';
  end if;
  return answer;
end
$engine$;

-- Null when the key is ours now, otherwise the record found.
create function engine_take_key_v1(wanted jsonb) returns jsonb language plpgsql as $engine$
declare
  patience text := current_setting('lock_timeout');
begin
  perform set_config('lock_timeout', '5000', true);
  insert into idempotency_key (tenant, command_type, key, request_hash, state, acquired_at, result, expires_at)
  select tenant, command_type, key, request_hash, state, acquired_at, result, expires_at
  from jsonb_populate_record(null::idempotency_key, wanted)
  on conflict do nothing;
  if found then
    perform set_config('lock_timeout', patience, true);
    return null;
  end if;
  return (
    select to_jsonb(k) from idempotency_key k
    where tenant = wanted->>'tenant' and command_type = wanted->>'command_type' and key = wanted->>'key'
  );
end
$engine$;

create function engine_create_v1(ws jsonb) returns jsonb language plpgsql as $engine$
declare
  r workflow_run := jsonb_populate_record(null::workflow_run, ws->'create');
  before int := r.event_seq;
  opens jsonb := ws->'opens';
  events jsonb := coalesce(ws->'events', '[]') || coalesce(opens->'events', '[]');
  opened record;
  lease_end timestamptz;
  last_event int;
begin
  if opens is not null then
    r.group_no := opens->>'group_no';
    r.group_open := jsonb_array_length(opens->'stages');
  end if;
  r.event_seq := before + jsonb_array_length(events);
  insert into workflow_run (
    id, workflow_id, workflow_name, workflow_type, definition_hash, status, input, created_at, updated_at, config,
    tenant, output, priority, version, event_seq, group_no, group_open, started_at, completed_at, duration_ms,
    total_cost, total_tokens, parent_run_id, metadata, failure_code, failure_message
  ) values (
    r.id, r.workflow_id, r.workflow_name, r.workflow_type, r.definition_hash, r.status, r.input, r.created_at,
    r.updated_at, r.config, r.tenant, r.output, r.priority, r.version, r.event_seq, r.group_no, r.group_open,
    r.started_at, r.completed_at, r.duration_ms, r.total_cost, r.total_tokens, r.parent_run_id, r.metadata,
    r.failure_code, r.failure_message
  ) on conflict (id) do nothing;
  if not found then
    select * into r from workflow_run where id = r.id for no key update;
    return engine_answer_v1('REPEAT', r);
  end if;
  if opens is not null then
    opened := engine_open_group_v1(
      r.id, opens, (ws->>'at')::timestamptz, coalesce((ws->>'now')::timestamptz, clock_timestamp()));
    lease_end := opened.lease_end;
  end if;
  if ws ?| array['logs', 'artifacts', 'annotations'] then
    events := engine_append_v1(ws) || events;
  end if;
  last_event := engine_emit_v1(r.id, before, events, ws->>'causation_id');
  if last_event <> r.event_seq then
    update workflow_run set event_seq = last_event where id = r.id;
  end if;
  return engine_answer_v1('APPLIED', r) || jsonb_build_object('lease_until', lease_end);
end
$engine$;

create function engine_change_v1(ws jsonb) returns jsonb language plpgsql as $engine$
declare
  r workflow_run;
  s workflow_stage;
  j job;
  job_change jsonb := ws->'job';
  stage_change jsonb := ws->'stage';
  at timestamptz := ws->>'at';
  moment timestamptz;
  illegal jsonb := ws->'illegal';
  ok boolean;
  events jsonb := coalesce(ws->'events', '[]');
  gave_up boolean;
  closed boolean := false;
  lease_end timestamptz;
  opened record;
  ending record;
begin
  select * into r from workflow_run where id = ws->>'run_id' for no key update;
  if not found then
    return jsonb_build_object('verdict', 'GHOST');
  end if;
  if stage_change is not null then
    select * into s from workflow_stage where id = stage_change->>'record_id' for no key update;
  end if;
  if job_change is not null then
    select * into j from job where id = job_change->>'job_id' for no key update;
  end if;
  -- Read after the locks: waiting for one must not eat a lease.
  moment := coalesce((ws->>'now')::timestamptz, clock_timestamp());

  if j.lease_token = job_change->>'token' and job_change->'repeats' ? j.status then
    return engine_answer_v1('REPEAT', r);
  elsif not ws->'run_in' ? r.status then
    return engine_answer_v1('GHOST', r);
  elsif r.version <> (ws->>'expected_version')::int then
    return engine_answer_v1('STALE', r);
  elsif job_change is not null and (
    j.id is null or j.workflow_run_id <> r.id or not job_change->'status_in' ? j.status
    or (job_change ? 'token' and j.lease_token is distinct from job_change->>'token')
    or (job_change ? 'expired' and (j.lease_until is null or j.lease_until > moment))
  ) then
    return engine_answer_v1('LOST', r);
  end if;
  if stage_change is not null and (
    s.id is null or s.workflow_run_id <> r.id or not stage_change->'status_in' ? s.status
    or (stage_change ? 'poll_token' and s.poll_token is distinct from stage_change->>'poll_token')
  ) then
    return engine_answer_v1('LOST', r);
  end if;
  if illegal->'job' ? j.status then
    ok := engine_refuse_move_v1('job', j.status, job_change->>'to');
  end if;

  if ws ? 'run' then
    if illegal->'run' ? r.status then
      ok := engine_refuse_move_v1('run', r.status, ws->'run'->>'status');
    end if;
    -- The first failure of a run is the one it ends with.
    r := jsonb_populate_record(r, case
      when ws->>'closes' = 'GROUP' and r.failure_code is not null
      then (ws->'run') - array['failure_code', 'failure_message'] else ws->'run' end);
  end if;
  r.total_cost := r.total_cost + coalesce((ws->>'cost')::float8, 0);
  r.total_tokens := r.total_tokens + coalesce((ws->>'tokens')::bigint, 0);

  -- A failing run waits for bodies that run, not for tries or polls to come.
  gave_up := coalesce(job_change->>'to' in ('PENDING', 'SUSPENDED') and r.failure_code is not null, false);
  if job_change is not null then
    lease_end := engine_change_job_v1(j, job_change, gave_up, at, moment);
  end if;
  if gave_up and stage_change is null then
    select * into s from workflow_stage where id = j.stage_record_id for no key update;
  end if;
  if s.id is not null then
    ok := engine_change_stage_v1(ws, s, gave_up);
    if s.total_cost <> 0 or s.total_tokens <> 0 or ws ?| array['cost', 'tokens'] then
      events := engine_tell_totals_v1(ws, s, events);
    end if;
  end if;
  if ws ?| array['logs', 'artifacts', 'annotations'] then
    events := engine_append_v1(ws) || events;
  end if;
  if ws ? 'removes' then
    ok := engine_remove_stages_v1(r.id, ws->'removes', at);
  end if;
  if ws ? 'opens' then
    opened := engine_open_group_v1(r.id, ws->'opens', at, moment);
    r.group_no := ws->'opens'->>'group_no';
    r.group_open := opened.still_open;
    lease_end := opened.lease_end;
    events := events || coalesce(ws->'opens'->'events', '[]');
  end if;
  if ws ? 'jobs' then
    ok := engine_recreate_missing_jobs_v1(r.id, ws->'jobs', at, moment);
  end if;

  if gave_up or ws ? 'closes' then
    ending := engine_close_v1(ws, case when gave_up then 'STAGE' else ws->>'closes' end, at, moment, r, lease_end);
    r := ending.r;
    closed := ending.closed;
    lease_end := ending.lease_end;
    events := events || ending.events;
  end if;

  r.event_seq := engine_emit_v1(r.id, r.event_seq, events, ws->>'causation_id');
  r.version := r.version + 1;
  r.updated_at := at;
  update workflow_run set
    status = r.status, updated_at = r.updated_at, output = r.output, version = r.version, event_seq = r.event_seq,
    group_no = r.group_no, group_open = r.group_open, started_at = r.started_at, completed_at = r.completed_at,
    duration_ms = r.duration_ms, total_cost = r.total_cost, total_tokens = r.total_tokens,
    failure_code = r.failure_code, failure_message = r.failure_message
  where id = r.id;
  if ws ? 'rewrites' then
    update workflow_run set
      workflow_id = r.workflow_id, workflow_name = r.workflow_name, workflow_type = r.workflow_type,
      definition_hash = r.definition_hash, input = r.input, created_at = r.created_at, config = r.config,
      tenant = r.tenant, priority = r.priority, parent_run_id = r.parent_run_id, metadata = r.metadata
    where id = r.id;
  end if;
  return engine_answer_v1('APPLIED', r) || jsonb_build_object('closed', closed, 'lease_until', lease_end);
end
$engine$;
