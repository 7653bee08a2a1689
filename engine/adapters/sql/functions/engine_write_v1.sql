-- Writes rows in one transaction, or nothing, by the rules of `engine.ports.changes`. It knows no statuses: the
-- document of `engine.adapters.sql.changes_json` contains tables, columns and values. Its fields:
--   now       the store's time, if a clock is injected
--   patience  milliseconds to wait for another transaction that inserts the same row
--   steps     each with `need` (the rows it must touch), the conditions equal, one_of, least, passed, and one of
--               table, insert: rows, with `from_now`: columns set to the moment plus seconds
--               table, ids, and set, add, latest, from_now for each of these rows
--               delete: ids of stages; check: the id of a run
--   events    payloads, numbered by the run's sequence, which a step has raised
-- The race: two transactions change one row. The conditions of an update are in its statement, so the server checks them
-- on the row that it has locked. If a condition fails, an exception rolls back all earlier steps.
-- All statements are static, so the session caches their plans; engine_make_writers_v1 creates those with columns.

create function engine_write_v1(doc jsonb) returns jsonb language plpgsql as $engine$
declare
  moment timestamptz := coalesce((doc->>'now')::timestamptz, clock_timestamp());
  step jsonb;
  touched int;
  has_written boolean := false;
  last_sequence int := 0;
begin
  if doc ? 'patience' then
    perform set_config('lock_timeout', doc->>'patience', true);
  end if;
  for step in select value from jsonb_array_elements(doc->'steps') loop
    if step ? 'delete' then
      delete from workflow_stage where id = any (array(select jsonb_array_elements_text(step->'delete')));
      get diagnostics touched = row_count;
    elsif step ? 'check' then
      touched := (select count(*) from workflow_run r where id = step->>'check' and engine_holds_v1(to_jsonb(r), step, moment));
    else
      -- Read in each step: the wait for a lock must not shorten a lease.
      moment := coalesce((doc->>'now')::timestamptz, clock_timestamp());
      touched := case when step ? 'insert' then engine_insert_v1(step, moment) else engine_update_v1(step, moment) end;
    end if;
    has_written := has_written or touched > 0;
    if touched < (step->>'need')::int and has_written then
      raise exception using errcode = 'WE001', message = 'a condition does not hold';
    elsif touched < (step->>'need')::int then
      return '{"refused": true}';
    end if;
  end loop;
  if doc ? 'events' then
    last_sequence := engine_append_events_v1(doc->>'run_id', doc->'events', doc->>'causation_id');
  end if;
  return jsonb_build_object('now', moment, 'last_sequence', last_sequence);
end
$engine$;

create function engine_append_events_v1(run_id text, events jsonb, cause text) returns int language plpgsql as $engine$
declare
  last_sequence int;
  stamp timestamptz;
  earlier int;
begin
  select event_seq, last_event_at into last_sequence, stamp from workflow_run where id = run_id;
  earlier := last_sequence - jsonb_array_length(events);
  insert into outbox_event (
    id, workflow_run_id, sequence, event_type, payload, occurred_at, causation_id, retry_count
  )
  select run_id || '.' || earlier + position, run_id, earlier + position, payload->>'type', payload,
    stamp, cause, 0
  from jsonb_array_elements(events) with ordinality as e (payload, position);
  return last_sequence;
end
$engine$;

create function engine_holds_v1(row_now jsonb, step jsonb, moment timestamptz) returns boolean language plpgsql as $engine$
begin
  return row_now @> coalesce(step->'equal', '{}')
    and (not step ? 'one_of' or not exists (
      select from jsonb_each(step->'one_of') as c (name, allowed) where not allowed @> (row_now->name)))
    and (not step ? 'least' or not exists (
      select from jsonb_each_text(step->'least') as c (name, value)
      where ((row_now->>name)::numeric >= value::numeric) is not true))
    and (not step ? 'passed' or not exists (
      select from jsonb_array_elements_text(step->'passed') as c (name)
      where ((row_now->>name)::timestamptz <= moment) is not true));
end
$engine$;

-- The columns of `from_now` with their times: the moment plus seconds.
create function engine_from_now_v1(step jsonb, moment timestamptz) returns jsonb language plpgsql as $engine$
begin
  return (select jsonb_object_agg(name, moment + make_interval(secs => seconds::float8))
    from jsonb_each_text(step->'from_now') as t (name, seconds));
end
$engine$;

-- Locks and reads the run `run_id`; also reads the job `job_id` with its stage, and with `whole` all stages and jobs of
-- the run.
create function engine_lock_v1(wanted jsonb) returns jsonb language plpgsql as $engine$
declare
  run jsonb;
  job jsonb;
  stage jsonb;
  jobs jsonb;
  stages jsonb;
begin
  select to_jsonb(t) into run from workflow_run t where id = wanted->>'run_id' for no key update;
  select to_jsonb(t) into job from job t where id = wanted->>'job_id';
  select to_jsonb(t) into stage from workflow_stage t where id = job->>'stage_record_id';
  if wanted ? 'whole' then
    select jsonb_agg(to_jsonb(t)) into stages from workflow_stage t where workflow_run_id = wanted->>'run_id';
    select jsonb_agg(to_jsonb(t)) into jobs from job t where workflow_run_id = wanted->>'run_id';
  end if;
  return jsonb_build_object('run', run, 'job', job, 'stage', stage, 'stages', stages, 'jobs', jobs);
end
$engine$;

-- Creates engine_insert_v1(step, moment) and engine_update_v1(step, moment), which return the number of touched rows, from
-- the current columns of the tables. A migration that adds a column calls it again.
create function engine_make_writers_v1() returns void language plpgsql as $engine$
declare
  inserts text;
  updates text;
begin
  select string_agg(format(
    'when %1$L then insert into %1$I overriding user value
       select r.* from jsonb_populate_recordset(null::%1$I, given) r on conflict do nothing;', name), ' ') into inserts
  from unnest(array['workflow_run', 'workflow_stage', 'job', 'workflow_log', 'workflow_artifact',
    'workflow_annotation', 'idempotency_key']) as name;
  select string_agg(format(
    'when %1$L then update %1$I t set %2$s where t.id = row_id%3$s
       and (not has_more or engine_holds_v1(to_jsonb(t), step, moment));', name, sets, conditions), ' ') into updates
  from (
    select table_name as name,
      string_agg(format('%1$I = case when changes ? %1$L then %3$s %2$s else t.%1$I end', column_name, case data_type
        when 'timestamp with time zone' then
          format('when latest ? %1$L then greatest(t.%1$I, (latest->>%1$L)::timestamptz)', column_name) when 'text' then '' when 'jsonb' then ''
        else format('when added ? %1$L then t.%1$I + (added->>%1$L)::%2$s', column_name, data_type) end,
        case data_type when 'jsonb' then format('nullif(changes->%1$L, ''null'')', column_name)
          else format('(changes->>%1$L)::%2$s', column_name, data_type) end), ', ') as sets,
      string_agg(format(' and (not equal ? %1$L or t.%1$I is not distinct from (equal->>%1$L)::%2$s)',
        column_name, data_type), '') as conditions
    from information_schema.columns
    where table_schema = current_schema() and table_name in ('workflow_run', 'workflow_stage', 'job') and column_name <> 'id'
    group by table_name) as columns;
  execute format('create or replace function engine_insert_v1(step jsonb, moment timestamptz) returns int
    language plpgsql as $f$ declare given jsonb := step->''insert''; touched int; begin
      if step ? ''from_now'' then
        select jsonb_agg(r || engine_from_now_v1(step, moment)) into given from jsonb_array_elements(given) r;
      end if;
      case step->>''table'' %s end case; get diagnostics touched = row_count; return touched; end $f$', inserts);
  execute format('create or replace function engine_update_v1(step jsonb, moment timestamptz) returns int
    language plpgsql as $f$ declare
      changes jsonb := step->''set''; added jsonb := step->''add''; latest jsonb := step->''latest'';
      equal jsonb := coalesce(step->''equal'', ''{}''); has_more boolean := step ?| array[''one_of'', ''least'', ''passed''];
      row_id text; updated int; touched int := 0; begin
      if step ? ''from_now'' then changes := changes || engine_from_now_v1(step, moment); end if;
      for i in 0 .. jsonb_array_length(step->''ids'') - 1 loop
        row_id := step->''ids''->>i;
        case step->>''table'' %s end case; get diagnostics updated = row_count; touched := touched + updated;
      end loop; return touched; end $f$', updates);
end
$engine$;

select engine_make_writers_v1();
