-- Writes rows in one transaction, or nothing; `engine.ports.changes` tells the rules. Nothing here knows what a column
-- means: a document names tables, columns and values, and `engine.adapters.sql.changes_json` makes it. Its fields:
--   now      the store's time where a clock was injected
--   patience milliseconds to wait for another transaction that inserts the same row
--   steps    each of one table, with `need`, how many rows it has to touch, and one of
--              insert: rows, whose columns `from_now` are set to so many seconds after the moment
--              delete: ids
--              ids with set, add, latest, from_now and the conditions equal, one_of, least, passed; without any of
--              the first four the rows are only looked at
--   events   payloads, to be numbered by the last sequence that the run's row says by now
-- All is PL/pgSQL, which keeps the plans of its static statements for the session. Updates are made of the names in the
-- document and planned each time: that costs less than setting all columns of a row.

create function engine_write_v1(doc jsonb) returns jsonb language plpgsql as $engine$
declare
  moment timestamptz;
  step jsonb;
  touched int;
  has_written boolean := false;
  sequence int := 0;
begin
  if doc ? 'patience' then
    perform set_config('lock_timeout', doc->>'patience', true);
  end if;
  for step in select value from jsonb_array_elements(doc->'steps') loop
    -- Read for each step: waiting for a lock must not shorten a lease.
    moment := coalesce((doc->>'now')::timestamptz, clock_timestamp());
    if step ? 'insert' then
      touched := engine_insert_v1(step, moment);
    else
      touched := engine_touch_v1(step, moment);
    end if;
    if touched < (step->>'need')::int then
      if has_written then
        raise exception using errcode = 'WE001', message = 'a condition does not hold';
      end if;
      return '{"refused": true}';
    end if;
    has_written := true;
  end loop;
  if doc ? 'events' then
    sequence := engine_append_events_v1(doc);
  end if;
  return jsonb_build_object('now', moment, 'last_sequence', sequence);
end
$engine$;

create function engine_append_events_v1(doc jsonb) returns int language plpgsql as $engine$
declare
  last_sequence int;
  stamp timestamptz;
  earlier int;
begin
  select event_seq, last_event_at into last_sequence, stamp from workflow_run where id = doc->>'run_id';
  earlier := last_sequence - jsonb_array_length(doc->'events');
  insert into outbox_event (
    id, workflow_run_id, sequence, event_type, payload, occurred_at, causation_id, retry_count
  )
  select doc->>'run_id' || '.' || earlier + position, doc->>'run_id', earlier + position, payload->>'type', payload,
    stamp, doc->>'causation_id', 0
  from jsonb_array_elements(doc->'events') with ordinality as e (payload, position);
  return last_sequence;
end
$engine$;

create function engine_insert_v1(step jsonb, moment timestamptz) returns int language plpgsql as $engine$
declare
  given jsonb := step->'insert';
  touched int;
begin
  if step ? 'from_now' then
    select jsonb_agg(row || times) into given
    from jsonb_array_elements(given) as rows (row), (
      select jsonb_object_agg(name, moment + make_interval(secs => seconds::float8)) as times
      from jsonb_each_text(step->'from_now') as t (name, seconds)) as t;
  end if;
  case step->>'table'
    when 'workflow_run' then
      insert into workflow_run select r.* from jsonb_populate_recordset(null::workflow_run, given) r
      on conflict do nothing;
    when 'workflow_stage' then
      insert into workflow_stage select r.* from jsonb_populate_recordset(null::workflow_stage, given) r
      on conflict do nothing;
    when 'job' then
      insert into job select r.* from jsonb_populate_recordset(null::job, given) r on conflict do nothing;
    when 'workflow_log' then
      insert into workflow_log select r.* from jsonb_populate_recordset(null::workflow_log, given) r
      on conflict do nothing;
    when 'workflow_artifact' then
      insert into workflow_artifact select r.* from jsonb_populate_recordset(null::workflow_artifact, given) r
      on conflict do nothing;
    when 'workflow_annotation' then
      insert into workflow_annotation overriding user value
      select r.* from jsonb_populate_recordset(null::workflow_annotation, given) r on conflict do nothing;
    when 'idempotency_key' then
      insert into idempotency_key select r.* from jsonb_populate_recordset(null::idempotency_key, given) r
      on conflict do nothing;
  end case;
  get diagnostics touched = row_count;
  return touched;
end
$engine$;

-- Updates, deletes or looks at rows by id, where the conditions hold. Gives how many there were.
create function engine_touch_v1(step jsonb, moment timestamptz) returns int language plpgsql as $engine$
declare
  ids text[] := array(select jsonb_array_elements_text(coalesce(step->'delete', step->'ids')));
  conditions text;
  changes text;
  touched int;
begin
  select coalesce(string_agg(' and ' || condition, ''), '') into conditions from (
    select case when value is null then format('%I is null', name) else format('%I = %L', name, value) end
    from jsonb_each_text(step->'equal') as c (name, value)
    union all
    select format('%I = any (%L)', name, array(select jsonb_array_elements_text(allowed)))
    from jsonb_each(step->'one_of') as c (name, allowed)
    union all
    select format('%I >= %L', name, value) from jsonb_each_text(step->'least') as c (name, value)
    union all
    select format('%I <= %L', name, moment) from jsonb_array_elements_text(step->'passed') as c (name)
  ) as c (condition);
  select string_agg(change, ', ') into changes from (
    select format('%I = %L', name, value) from jsonb_each_text(step->'set') as c (name, value)
    union all
    select format('%1$I = %1$I + %2$L', name, value) from jsonb_each_text(step->'add') as c (name, value)
    union all
    select format('%1$I = greatest(%1$I, %2$L)', name, value) from jsonb_each_text(step->'latest') as c (name, value)
    union all
    select format('%I = %L', name, moment + make_interval(secs => value::float8))
    from jsonb_each_text(step->'from_now') as c (name, value)
  ) as c (change);
  if step ? 'delete' then
    execute format('delete from %I where id = any ($1)%s', step->>'table', conditions) using ids;
  elsif changes is null then
    execute format('select from %I where id = any ($1)%s', step->>'table', conditions) using ids;
  else
    execute format('update %I set %s where id = any ($1)%s', step->>'table', changes, conditions) using ids;
  end if;
  get diagnostics touched = row_count;
  return touched;
end
$engine$;

-- Locks the run `run_id` and reads it, with the job `job_id` and its stage where one is asked for, and with `whole` all
-- its stages and jobs.
create function engine_lock_v1(wanted jsonb) returns jsonb language plpgsql as $engine$
declare
  answer jsonb := '{}';
  found_row jsonb;
begin
  select to_jsonb(t) into found_row from workflow_run t where id = wanted->>'run_id' for no key update;
  answer := jsonb_build_object('run', found_row);
  if wanted ? 'job_id' then
    select to_jsonb(t) into found_row from job t where id = wanted->>'job_id';
    answer := answer || jsonb_build_object('job', found_row);
    select to_jsonb(t) into found_row from workflow_stage t where id = found_row->>'stage_record_id';
    answer := answer || jsonb_build_object('stage', found_row);
  end if;
  if wanted ? 'whole' then
    select jsonb_agg(to_jsonb(t)) into found_row from workflow_stage t where workflow_run_id = wanted->>'run_id';
    answer := answer || jsonb_build_object('stages', found_row);
    select jsonb_agg(to_jsonb(t)) into found_row from job t where workflow_run_id = wanted->>'run_id';
    answer := answer || jsonb_build_object('jobs', found_row);
  end if;
  return answer;
end
$engine$;
