-- The parts of engine_apply_v1. `at` is the kernel's time and `moment` the store's. All are PL/pgSQL, which keeps its
-- plans for the session; functions in plain SQL are planned anew by each call. All give a value, because calling them in
-- an assignment is several times cheaper than by PERFORM.

create function engine_answer_v1(verdict text, r workflow_run) returns jsonb language plpgsql as $engine$
begin
  return jsonb_build_object(
    'verdict', verdict, 'run_status', r.status, 'run_version', r.version,
    'failing', r.failure_code is not null and r.status = 'RUNNING');
end
$engine$;

create function engine_refuse_move_v1(kind text, before text, after text) returns boolean language plpgsql as $engine$
begin
  raise exception using
    errcode = 'WE001', message = 'a ' || kind || ' cannot go from ' || before || ' to ' || after;
end
$engine$;

-- Whole milliseconds, as the kernel counts them.
create function engine_ms_v1(since timestamptz, until timestamptz) returns bigint language plpgsql as $engine$
begin
  return floor(extract(epoch from until - since) * 1000);
end
$engine$;

-- Gives the last sequence taken.
create function engine_emit_v1(run_id text, before int, events jsonb, causation text) returns int
language plpgsql as $engine$
begin
  insert into outbox_event (
    id, workflow_run_id, sequence, event_type, payload, occurred_at, causation_id, retry_count
  )
  select run_id || '.' || before + position, run_id, before + position, payload->>'type', payload,
    (payload->>'timestamp')::timestamptz, causation, 0
  from jsonb_array_elements(events) with ordinality as e (payload, position);
  return before + jsonb_array_length(events);
end
$engine$;

-- Logs, artifacts and annotations. Gives the events of the annotations that were new.
create function engine_append_v1(ws jsonb) returns jsonb language plpgsql as $engine$
declare
  events jsonb;
begin
  if ws ? 'logs' then
    insert into workflow_log (
      id, workflow_run_id, level, message, created_at, stage_id, stage_record_id, metadata
    )
    select id, workflow_run_id, level, message, created_at, stage_id, stage_record_id, metadata
    from jsonb_populate_recordset(null::workflow_log, ws->'logs')
    on conflict (id) do nothing;
  end if;
  if ws ? 'artifacts' then
    insert into workflow_artifact (
      id, workflow_run_id, stage_record_id, stage_id, name, blob_key, size, content_type, sha256, created_at
    )
    select id, workflow_run_id, stage_record_id, stage_id, name, blob_key, size, content_type, sha256, created_at
    from jsonb_populate_recordset(null::workflow_artifact, ws->'artifacts');
  end if;
  if not ws ? 'annotations' then
    return '[]';
  end if;
  with added as (
    insert into workflow_annotation (
      id, workflow_run_id, scope, scope_id, generation, key, value, created_at, stage_record_id, actor_kind, actor_id,
      actor_version, payload, idempotency_key
    )
    select id, workflow_run_id, scope, scope_id, generation, key, coalesce(value, 'null'), created_at, stage_record_id,
      actor_kind, actor_id, actor_version, payload, idempotency_key
    from jsonb_populate_recordset(null::workflow_annotation, ws->'annotations')
    on conflict (workflow_run_id, key, idempotency_key) do nothing
    returning id
  )
  select jsonb_agg(draft->'event' order by position) into events
  from jsonb_array_elements(ws->'annotations') with ordinality as a (draft, position)
  where draft ? 'event' and draft->>'id' in (select id from added);
  return coalesce(events, '[]');
end
$engine$;

-- Gives the end of a renewed lease.
create function engine_change_job_v1(j job, change jsonb, gave_up boolean, at timestamptz, moment timestamptz)
returns timestamptz language plpgsql as $engine$
declare
  target text := case when gave_up then 'CANCELLED' else change->>'to' end;
  taken boolean := j.status = 'RUNNING' and change->>'to' <> 'RUNNING'
    and (not change ? 'token' or change ? 'expired');
  lease_end timestamptz;
begin
  update job set
    status = target,
    updated_at = at,
    lease_token = case when not taken then lease_token end,
    worker_id = case when target <> 'PENDING' then worker_id end,
    due_at = case
      when target = 'PENDING' then moment + make_interval(secs => (change->>'due_in')::float8) else due_at end,
    lease_until = case when target <> 'RUNNING' then null when change ? 'renew'
      then moment + make_interval(secs => (change->>'renew')::float8) else lease_until end,
    max_attempts = max_attempts + (change ? 'uncounted')::int,
    last_error = coalesce(change->>'error', last_error)
  where id = j.id
  returning case when change ? 'renew' then lease_until end into lease_end;
  return lease_end;
end
$engine$;

create function engine_change_stage_v1(ws jsonb, before workflow_stage, gave_up boolean) returns boolean
language plpgsql as $engine$
declare
  s workflow_stage := before;
begin
  if gave_up and s.status not in ('PENDING', 'RUNNING', 'SUSPENDED') then
    return false;
  end if;
  if not gave_up and ws->'illegal'->'stage' ? s.status then
    return engine_refuse_move_v1('stage', s.status, ws->'stage'->'patch'->>'status');
  end if;
  s := jsonb_populate_record(s, coalesce(ws->'stage'->'patch', '{}'));
  if gave_up then
    s.status := 'CANCELLED';
    s.completed_at := ws->>'at';
  end if;
  update workflow_stage set
    stage_name = s.stage_name, stage_number = s.stage_number, execution_group = s.execution_group,
    status = s.status, generation = s.generation, config = s.config, started_at = s.started_at,
    completed_at = s.completed_at, duration_ms = s.duration_ms, input_data = s.input_data,
    output_data = s.output_data, suspended_state = s.suspended_state, next_poll_at = s.next_poll_at,
    poll_interval_s = s.poll_interval_s, max_wait_until = s.max_wait_until, poll_token = s.poll_token,
    poll_until = s.poll_until, metrics = s.metrics, embedding_info = s.embedding_info, progress = s.progress,
    error_code = s.error_code, error_message = s.error_message,
    total_cost = s.total_cost + coalesce((ws->>'cost')::float8, 0),
    total_tokens = s.total_tokens + coalesce((ws->>'tokens')::bigint, 0),
    version = before.version + 1,
    updated_at = (ws->>'at')::timestamptz
  where id = before.id;
  return found;
end
$engine$;

-- What the calls of a stage cost is booked while it runs: the row knows it, who finishes it does not.
create function engine_tell_totals_v1(ws jsonb, s workflow_stage, events jsonb) returns jsonb
language plpgsql as $engine$
begin
  return coalesce((
    select jsonb_agg(case when event->>'type' = 'stage:completed' then event || jsonb_build_object(
      'total_cost', s.total_cost + coalesce((ws->>'cost')::float8, 0),
      'total_tokens', s.total_tokens + coalesce((ws->>'tokens')::bigint, 0)) else event end order by position)
    from jsonb_array_elements(events) with ordinality as e (event, position)), '[]');
end
$engine$;

create function engine_remove_stages_v1(run_id text, record_ids jsonb, at timestamptz) returns boolean
language plpgsql as $engine$
begin
  update job set
    status = 'CANCELLED', lease_until = null, updated_at = at,
    lease_token = case when status <> 'RUNNING' then lease_token end
  where workflow_run_id = run_id and record_ids ? stage_record_id and status in ('PENDING', 'RUNNING', 'SUSPENDED');
  delete from workflow_stage where id in (select jsonb_array_elements_text(record_ids));
  return found;
end
$engine$;

-- Somebody else's decision: a job that was RUNNING loses its token.
create function engine_cancel_v1(run_id text, statuses text[], at timestamptz) returns boolean language plpgsql as $engine$
begin
  update workflow_stage set status = 'CANCELLED', completed_at = at, updated_at = at, version = version + 1
  where workflow_run_id = run_id and status = any (statuses);
  update job set
    status = 'CANCELLED', lease_until = null, updated_at = at,
    lease_token = case when status <> 'RUNNING' then lease_token end
  where workflow_run_id = run_id and status = any (statuses);
  return found;
end
$engine$;
