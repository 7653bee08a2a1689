-- How engine_apply_v1 opens and closes execution groups.

create function engine_insert_jobs_v1(
  run_id text, drafts jsonb, lease jsonb, at timestamptz, moment timestamptz
) returns timestamptz language plpgsql as $engine$
declare
  lease_end timestamptz := moment + make_interval(secs => (lease->>'seconds')::float8);
begin
  insert into job (
    id, workflow_run_id, stage_record_id, stage_id, pool, status, due_at, created_at, updated_at, priority, attempt,
    max_attempts, worker_id, lease_token, lease_until, trace_context
  )
  select id, run_id, stage_record_id, stage_id, pool, case when lease is null then 'PENDING' else 'RUNNING' end,
    moment, at, at, priority, (lease is not null)::int, max_attempts, lease->>'worker_id', lease->>'token',
    lease_end, trace_context
  from jsonb_populate_recordset(null::job, drafts);
  return case when found then lease_end end;
end
$engine$;

create function engine_open_group_v1(
  run_id text, opens jsonb, at timestamptz, moment timestamptz, out still_open int, out lease_end timestamptz
) language plpgsql as $engine$
declare
  drafts jsonb := opens->'jobs';
  added text[];
begin
  still_open := jsonb_array_length(opens->'stages');
  with new as (
    insert into workflow_stage (
      id, workflow_run_id, stage_id, stage_name, stage_number, execution_group, status, created_at, updated_at,
      generation, version, config, started_at, completed_at, duration_ms, input_data, output_data, suspended_state,
      next_poll_at, poll_interval_s, max_wait_until, poll_token, poll_until, metrics, embedding_info, progress,
      total_cost, total_tokens, error_code, error_message
    )
    select id, workflow_run_id, stage_id, stage_name, stage_number, execution_group, status, created_at, updated_at,
      generation, version, config, started_at, completed_at, duration_ms, input_data, output_data, suspended_state,
      next_poll_at, poll_interval_s, max_wait_until, poll_token, poll_until, metrics, embedding_info, progress,
      total_cost, total_tokens, error_code, error_message
    from jsonb_populate_recordset(null::workflow_stage, opens->'stages')
    on conflict (workflow_run_id, stage_id) do nothing
    returning id
  )
  select coalesce(array_agg(id), '{}') into added from new;
  if cardinality(added) < still_open then
    drafts := engine_missing_jobs_v1(run_id, opens, added, at);
    select count(*) into still_open
    from workflow_stage s
    where s.workflow_run_id = run_id and s.status in ('PENDING', 'RUNNING', 'SUSPENDED')
      and s.stage_id in (select d->>'stage_id' from jsonb_array_elements(opens->'stages') d);
  end if;
  lease_end := engine_insert_jobs_v1(run_id, drafts, opens->'lease', at, moment);
end
$engine$;

-- Some of the group's records were there before: they stay, and those PENDING without a job get one.
create function engine_missing_jobs_v1(run_id text, opens jsonb, added text[], at timestamptz) returns jsonb
language plpgsql as $engine$
declare
  drafts jsonb;
begin
  select coalesce(jsonb_agg(draft || jsonb_build_object('stage_record_id', s.id) order by position), '[]') into drafts
  from jsonb_array_elements(opens->'jobs') with ordinality as d (draft, position)
  join workflow_stage s on s.workflow_run_id = run_id and s.stage_id = draft->>'stage_id'
  where s.id = any (added) or (s.status = 'PENDING' and not engine_has_open_job_v1(run_id, s.id));
  if opens ? 'lease' then
    update workflow_stage set status = 'RUNNING', started_at = at, updated_at = at, version = version + 1
    where id in (select d->>'stage_record_id' from jsonb_array_elements(drafts) d) and id <> all (added);
  end if;
  return drafts;
end
$engine$;

create function engine_has_open_job_v1(run_id text, record_id text) returns boolean
language plpgsql as $engine$
begin
  return exists (
    select from job where workflow_run_id = run_id and stage_record_id = record_id
      and status in ('PENDING', 'RUNNING', 'SUSPENDED'));
end
$engine$;

-- Jobs for records that wait without one.
create function engine_recreate_missing_jobs_v1(run_id text, drafts jsonb, at timestamptz, moment timestamptz) returns boolean
language plpgsql as $engine$
begin
  perform engine_insert_jobs_v1(run_id, jsonb_agg(draft), null, at, moment)
  from jsonb_array_elements(drafts) draft
  join workflow_stage s on s.id = draft->>'stage_record_id' and s.workflow_run_id = run_id and s.status = 'PENDING'
  where not engine_has_open_job_v1(run_id, s.id);
  return found;
end
$engine$;

create function engine_close_v1(
  ws jsonb, closes text, at timestamptz, moment timestamptz,
  inout r workflow_run, inout lease_end timestamptz, out closed boolean, out events jsonb
) language plpgsql as $engine$
declare
  follows jsonb := ws->'then';
  opened record;
  ok boolean;
begin
  closed := false;
  events := '[]';
  if closes = 'RUN' then
    ok := engine_cancel_v1(r.id, array['PENDING', 'RUNNING', 'SUSPENDED'], at);
    r.group_open := 0;
    if r.status in ('COMPLETED', 'FAILED', 'CANCELLED', 'SKIPPED')
      and not coalesce(ws->'run' ? 'completed_at', false) then
      r.completed_at := at;
      r.duration_ms := engine_ms_v1(r.started_at, at);
    end if;
    return;
  elsif closes = 'STAGE' then
    r.group_open := greatest(0, r.group_open - 1);
  elsif closes = 'DONE' then
    r.group_open := 0;
  elsif closes = 'GROUP' then
    if r.failure_code is null and ws ? 'stage' then
      r.failure_code := ws->'stage'->'patch'->>'error_code';
      r.failure_message := ws->'stage'->'patch'->>'error_message';
    end if;
    ok := engine_cancel_v1(r.id, array['PENDING', 'SUSPENDED'], at);
    select count(*) into r.group_open from job where workflow_run_id = r.id and status = 'RUNNING';
  end if;
  closed := r.group_open = 0;
  if not closed then
    return;
  end if;

  if r.failure_code is not null then
    r := engine_end_v1(ws, r, 'FAILED', at);
    if ws ? 'failed_event' then
      events := jsonb_build_array(ws->'failed_event' || jsonb_build_object(
        'error', coalesce(r.failure_message, ''), 'error_code', r.failure_code));
    end if;
  elsif follows ? 'stages' then
    opened := engine_open_group_v1(r.id, follows, at, moment);
    r.group_no := follows->>'group_no';
    r.group_open := opened.still_open;
    lease_end := opened.lease_end;
    events := coalesce(follows->'events', '[]');
  elsif follows ? 'event' then
    r.output := coalesce(follows->'output', engine_group_output_v1(r.id, r.group_no));
    r := engine_end_v1(ws, r, 'COMPLETED', at);
    events := jsonb_build_array(follows->'event' || jsonb_build_object(
      'duration_ms', r.duration_ms, 'output', r.output, 'total_cost', r.total_cost, 'total_tokens', r.total_tokens));
  end if;
end
$engine$;

create function engine_end_v1(ws jsonb, r workflow_run, target text, at timestamptz) returns workflow_run
language plpgsql as $engine$
declare
  ok boolean := engine_cancel_v1(r.id, array['PENDING', 'RUNNING', 'SUSPENDED'], at);
begin
  if ws->'illegal'->target ? r.status then
    ok := engine_refuse_move_v1('run', r.status, target);
  end if;
  r.status := target;
  r.completed_at := at;
  r.duration_ms := engine_ms_v1(r.started_at, at);
  return r;
end
$engine$;

create function engine_group_output_v1(run_id text, group_no int) returns jsonb language plpgsql as $engine$
begin
  return jsonb_build_object('stages', (
    select coalesce(jsonb_object_agg(stage_id, output_data), '{}') from workflow_stage
    where workflow_run_id = run_id and execution_group = group_no and status = 'COMPLETED'
      and output_data is not null));
end
$engine$;
