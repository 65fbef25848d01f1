-- Schema learning as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema learning;
comment on schema learning is 'Skills, content, who may see it, and how far people are.';
grant usage on schema learning to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Tables ----------------------------------------------------------------------------------------------

-- One row per thing that moved a level, or was to: what, when, by how much. Levels are sums of it.
create table learning.skill_evidence (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  skill_id uuid not null,
  kind text not null,
  delta numeric(4,2) not null,
  source_key text,
  note text,
  recorded_by uuid default plinth.current_user_id(),
  created_at timestamp with time zone not null default clock_timestamp(),
  constraint skill_evidence_pkey primary key (id),
  constraint skill_evidence_user_id_skill_id_source_key_key unique (user_id, skill_id, source_key),
  constraint skill_evidence_delta_is_from_minus_10_to_10 check (delta >= '-10'::integer::numeric and delta <= 10::numeric),
  constraint skill_evidence_kind_check check (kind = any (array['initial'::text, 'assessment'::text, 'training'::text, 'content'::text, 'adjustment'::text])),
  constraint skill_evidence_note_check check (length(note) >= 1 and length(note) <= 2000),
  constraint skill_evidence_source_key_check check (length(source_key) >= 1 and length(source_key) <= 200),
  constraint skill_evidence_recorded_by_fkey foreign key (recorded_by) references identity.users(id) on delete set null,
  constraint skill_evidence_user_id_skill_id_fkey foreign key (user_id, skill_id) references learning.user_skills(user_id, skill_id) on delete cascade
);

alter table learning.skill_evidence enable row level security;

create index skill_evidence_recorded_by_idx on learning.skill_evidence using btree (recorded_by);

create trigger _500_sum_skill_evidence
  after insert or delete or update of delta on learning.skill_evidence
  for each row
  execute function learning.sum_skill_evidence();

comment on table learning.skill_evidence is 'One row per thing that moved a level, or was to: what, when, by how much. Levels are sums of it.';
comment on column learning.skill_evidence.id is 'UUIDv7.';
comment on column learning.skill_evidence.user_id is 'Whose level.';
comment on column learning.skill_evidence.skill_id is 'In which skill.';
comment on column learning.skill_evidence.kind is 'initial (the level somebody came with), assessment (by a person or the application), training (a completed run), content (completed items) or adjustment (written by the owner).';
comment on column learning.skill_evidence.delta is 'By how much the level moved; less than was meant where 0 or 10 was reached.';
comment on column learning.skill_evidence.source_key is 'What it stems from, such as training:1; each counts once per user and skill. Null for what may repeat.';
comment on column learning.skill_evidence.note is 'Why, in words.';
comment on column learning.skill_evidence.recorded_by is 'Who was signed in; null for a job, psql or a deleted account.';
comment on column learning.skill_evidence.created_at is 'When.';
comment on constraint skill_evidence_user_id_skill_id_source_key_key on learning.skill_evidence is '@behavior -*';
comment on constraint skill_evidence_user_id_skill_id_fkey on learning.skill_evidence is E'@fieldName userSkill\n@foreignFieldName evidence';

create policy select_manager on learning.skill_evidence
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_skills'::text)));
comment on policy select_manager on learning.skill_evidence is 'The permission manage_skills reads all evidence.';
create policy select_own on learning.skill_evidence
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on learning.skill_evidence is 'Users read what moved their own levels.';

grant select on learning.skill_evidence to :PLINTH_USER;

-- One row per skill that people can have and train.
create table learning.skills (
  id uuid not null default plinth.uuid_v7(),
  skill_name text not null,
  display_name text,
  description text not null default ''::text,
  training_gain numeric(4,2) not null default 1,
  is_active boolean not null default true,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint skills_pkey primary key (id),
  constraint skills_skill_name_key unique (skill_name),
  constraint skills_description_check check (length(description) <= 10000),
  constraint skills_display_name_check check (length(display_name) >= 1 and length(display_name) <= 200 and display_name = trim(both from display_name)),
  constraint skills_skill_name_is_a_lower_case_key check (skill_name ~ '^[a-z][a-z0-9_]{0,99}$'::text),
  constraint skills_training_gain_is_from_0_to_10 check (training_gain >= 0::numeric and training_gain <= 10::numeric)
);

alter table learning.skills enable row level security;

create trigger _900_touch_updated_at
  before update on learning.skills
  for each row
  execute function plinth.touch_updated_at();

comment on table learning.skills is 'One row per skill that people can have and train.';
comment on column learning.skills.id is 'UUIDv7.';
comment on column learning.skills.skill_name is 'Unique key of lower case letters, digits and underscores, such as active_listening.';
comment on column learning.skills.display_name is 'Name shown to people, or null.';
comment on column learning.skills.description is 'What somebody who has it can do.';
comment on column learning.skills.training_gain is 'By how much completing a training raises the level, 0 to 10.';
comment on column learning.skills.is_active is 'Skills out of use are hidden and cannot be taken on; what people have of them stays.';
comment on column learning.skills.created_at is 'When it was added.';
comment on column learning.skills.updated_at is 'When the row last changed.';

create policy all_manager on learning.skills
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_skills'::text)))
  with check ((select access.has_permission('manage_skills'::text)));
comment on policy all_manager on learning.skills is 'The permission manage_skills reads and writes all skills.';
create policy select_active on learning.skills
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (is_active);
comment on policy select_active on learning.skills is 'Everybody reads the skills in use.';

grant
  select,
  insert (skill_name, display_name, description, training_gain, is_active),
  update (skill_name, display_name, description, training_gain, is_active),
  delete
  on learning.skills to :PLINTH_USER;
grant select on learning.skills to :PLINTH_ANONYMOUS;

-- One row per user and skill they train: at most one, whatever its state.
create table learning.training (
  user_id uuid not null default plinth.current_user_id(),
  skill_id uuid not null,
  status text not null default 'pending'::text,
  progress numeric(5,4) not null default 0,
  run integer not null default 1,
  started_at timestamp with time zone,
  completed_at timestamp with time zone,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint training_pkey primary key (user_id, skill_id),
  constraint training_completed_at_is_of_the_completed check ((status = 'completed'::text) = (completed_at is not null)),
  constraint training_is_completed_when_its_progress_is_1 check ((status = 'completed'::text) = (progress = 1::numeric)),
  constraint training_is_started_before_it_is_active check (status = 'pending'::text or started_at is not null),
  constraint training_progress_is_from_0_to_1 check (progress >= 0::numeric and progress <= 1::numeric),
  constraint training_run_is_positive check (run >= 1),
  constraint training_status_check check (status = any (array['pending'::text, 'active'::text, 'completed'::text])),
  constraint training_skill_id_fkey foreign key (skill_id) references learning.skills(id) on delete cascade,
  constraint training_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table learning.training enable row level security;

create index training_skill_id_status_idx on learning.training using btree (skill_id, status);

create trigger _100_move_training
  before insert or update on learning.training
  for each row
  execute function learning.move_training();
create trigger _500_credit_training
  after update on learning.training
  for each row
  when (new.status = 'completed'::text and old.status <> 'completed'::text)
  execute function learning.credit_training();
create trigger _500_credit_training_begun
  after insert on learning.training
  for each row
  when (new.status = 'completed'::text)
  execute function learning.credit_training();
create trigger _900_touch_updated_at
  before update on learning.training
  for each row
  execute function plinth.touch_updated_at();

comment on table learning.training is 'One row per user and skill they train: at most one, whatever its state.';
comment on column learning.training.user_id is 'Who trains.';
comment on column learning.training.skill_id is 'What.';
comment on column learning.training.status is 'pending (not begun, or paused), active or completed.';
comment on column learning.training.progress is 'Share of this run that is done, from 0.0 to 1.0; 1 is completed.';
comment on column learning.training.run is 'Counts how often it was begun: 1, and one more after each completed one that was begun anew.';
comment on column learning.training.started_at is 'When this run was begun; null before.';
comment on column learning.training.completed_at is 'When this run was completed.';
comment on column learning.training.created_at is 'When the training was planned or first begun.';
comment on column learning.training.updated_at is 'When the row last changed.';

create policy select_manager on learning.training
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_skills'::text)));
comment on policy select_manager on learning.training is 'The permission manage_skills reads everybody''s trainings.';
create policy select_own on learning.training
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on learning.training is 'Users read their own trainings.';

grant select on learning.training to :PLINTH_USER;

-- One row per user and skill they have taken on.
create table learning.user_skills (
  user_id uuid not null default plinth.current_user_id(),
  skill_id uuid not null,
  level numeric(4,2) not null default 0,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint user_skills_pkey primary key (user_id, skill_id),
  constraint user_skills_level_is_from_0_to_10 check (level >= 0::numeric and level <= 10::numeric),
  constraint user_skills_skill_id_fkey foreign key (skill_id) references learning.skills(id) on delete cascade,
  constraint user_skills_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table learning.user_skills enable row level security;

create index user_skills_skill_id_level_idx on learning.user_skills using btree (skill_id, level);

create trigger _500_note_skill_level
  after insert or update of level on learning.user_skills
  for each row
  execute function learning.note_skill_level();
create trigger _900_touch_updated_at
  before update on learning.user_skills
  for each row
  execute function plinth.touch_updated_at();

comment on table learning.user_skills is 'One row per user and skill they have taken on.';
comment on column learning.user_skills.user_id is 'Whose skill.';
comment on column learning.user_skills.skill_id is 'The skill.';
comment on column learning.user_skills.level is 'Proficiency from 0 to 10: always the sum of the evidence.';
comment on column learning.user_skills.created_at is 'When it was taken on.';
comment on column learning.user_skills.updated_at is 'When the level last changed.';

create policy insert_own on learning.user_skills
  for insert to :PLINTH_USER
  with check (user_id = (select plinth.current_user_id()) and (skill_id in ( select s.id
   from learning.skills s)));
comment on policy insert_own on learning.user_skills is 'Users take on skills they can see.';
create policy select_manager on learning.user_skills
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_skills'::text)));
comment on policy select_manager on learning.user_skills is 'The permission manage_skills reads everybody''s levels.';
create policy select_own on learning.user_skills
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on learning.user_skills is 'Users read their own levels.';

grant select, insert (skill_id) on learning.user_skills to :PLINTH_USER;

-- Functions -------------------------------------------------------------------------------------------

-- Raises or lowers a user's level (within 0 to 10) and keeps it as evidence; repeated with the same event_key it changes nothing. Needs manage_skills. PL404 for an unknown user or skill, PL422 for a delta outside -10 to 10.
create or replace function learning.assess_skill(user_id uuid, skill_id uuid, delta numeric, note text default null::text, event_key text default null::text)
  returns learning.skill_evidence
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
begin
  if plinth.current_user_id() is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  if not access.has_permission('manage_skills') then
    raise exception 'This needs the permission manage_skills.' using errcode = 'PL403';
  end if;
  if assess_skill.delta is null or assess_skill.delta not between -10 and 10 or assess_skill.delta <> round(assess_skill.delta, 2) then
    raise exception 'delta must be from -10 to 10, with two decimals.'
      using errcode = 'PL422', schema = 'learning', table = 'skill_evidence', column = 'delta';
  end if;
  if not exists (select from identity.users u where u.id = assess_skill.user_id) then
    raise exception 'There is no such user.'
      using errcode = 'PL404', schema = 'learning', table = 'skill_evidence', column = 'user_id';
  end if;
  if not exists (select from learning.skills s where s.id = assess_skill.skill_id) then
    raise exception 'There is no such skill.'
      using errcode = 'PL404', schema = 'learning', table = 'skill_evidence', column = 'skill_id';
  end if;
  return private.add_skill_evidence(
    assess_skill.user_id, assess_skill.skill_id, 'assessment', assess_skill.delta, 'event:' || assess_skill.event_key, assess_skill.note
  );
end
$$;

comment on function learning.assess_skill(user_id uuid, skill_id uuid, delta numeric, note text, event_key text) is 'Raises or lowers a user''s level (within 0 to 10) and keeps it as evidence; repeated with the same event_key it changes nothing. Needs manage_skills. PL404 for an unknown user or skill, PL422 for a delta outside -10 to 10.';
revoke execute on function learning.assess_skill(user_id uuid, skill_id uuid, delta numeric, note text, event_key text) from public;
grant execute on function learning.assess_skill(user_id uuid, skill_id uuid, delta numeric, note text, event_key text) to :PLINTH_USER;

-- Trigger: a completed training is evidence of the skill.
create or replace function learning.credit_training()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  perform private.add_skill_evidence(
    new.user_id, new.skill_id, 'training',
    (select s.training_gain from learning.skills s where s.id = new.skill_id),
    'training:' || new.run
  );
  return null;
end
$$;

comment on function learning.credit_training() is 'Trigger: a completed training is evidence of the skill.';
revoke execute on function learning.credit_training() from public;

-- Trigger: the state machine of a training; PL409 for a change of state that there is not.
create or replace function learning.move_training()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'
as $$
begin
  if tg_op = 'INSERT' then
    if new.status = 'active' and new.progress = 1 then
      new.status := 'completed';
    end if;
    new.started_at := case when new.status <> 'pending' then coalesce(new.started_at, clock_timestamp()) end;
    new.completed_at := case when new.status = 'completed' then coalesce(new.completed_at, clock_timestamp()) end;
    return new;
  end if;

  -- Reaching the end is completing it; completing it is reaching the end.
  if old.status = 'active' and (new.progress = 1 or new.status = 'completed') and new.status <> 'pending' then
    new.status := 'completed';
    new.progress := 1;
  end if;
  if old.status = 'completed' and new.status = 'active' and new.run = old.run then
    new.run := old.run + 1;
    new.progress := case when new.progress = old.progress then 0 else new.progress end;
  end if;

  if (old.status, new.status) in (('pending', 'completed'), ('completed', 'pending')) then
    raise exception 'A % training cannot become %.', old.status, new.status
      using errcode = 'PL409', schema = 'learning', table = 'training', column = 'status';
  end if;
  if new.status = old.status and new.status <> 'active' and new.progress <> old.progress then
    raise exception 'Only an active training makes progress.'
      using errcode = 'PL409', schema = 'learning', table = 'training', column = 'status';
  end if;

  if new.status = 'active' and old.status <> 'active' and (old.status = 'completed' or old.started_at is null) then
    new.started_at := clock_timestamp();
  end if;
  new.completed_at := case
    when new.status <> 'completed' then null
    when old.status <> 'completed' then clock_timestamp()
    else old.completed_at
  end;
  return new;
end
$$;

comment on function learning.move_training() is 'Trigger: the state machine of a training; PL409 for a change of state that there is not.';
revoke execute on function learning.move_training() from public;

-- Trigger: a level that was written directly leaves evidence.
create or replace function learning.note_skill_level()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_unexplained numeric;
begin
  select new.level - coalesce(sum(e.delta), 0) into v_unexplained
  from learning.skill_evidence e
  where e.user_id = new.user_id and e.skill_id = new.skill_id;
  if v_unexplained <> 0 then
    insert into learning.skill_evidence (user_id, skill_id, kind, delta)
    values (
      new.user_id, new.skill_id, case tg_op when 'INSERT' then 'initial' else 'adjustment' end, v_unexplained
    );
  end if;
  return null;
end
$$;

comment on function learning.note_skill_level() is 'Trigger: a level that was written directly leaves evidence.';
revoke execute on function learning.note_skill_level() from public;

-- Pauses the signed-in user's training; its progress is kept. PL404 when there is none, PL409 when it is completed.
create or replace function learning.pause_training(skill_id uuid)
  returns learning.training
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_user_id constant uuid := private.lock_own_account();
  v_result learning.training;
begin
  update learning.training t
  set status = 'pending'
  where t.user_id = v_user_id and t.skill_id = pause_training.skill_id
  returning * into v_result;
  if not found then
    raise exception 'There is no such training.' using errcode = 'PL404';
  end if;
  return v_result;
end
$$;

comment on function learning.pause_training(skill_id uuid) is 'Pauses the signed-in user''s training; its progress is kept. PL404 when there is none, PL409 when it is completed.';
revoke execute on function learning.pause_training(skill_id uuid) from public;
grant execute on function learning.pause_training(skill_id uuid) to :PLINTH_USER;

-- Says how far a user's active training is, from 0 to 1; at 1 it is completed. Less than before changes nothing. Needs manage_skills. PL404 when there is no such training, PL409 when it is not active.
create or replace function learning.record_training_progress(user_id uuid, skill_id uuid, progress numeric)
  returns learning.training
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_result learning.training;
begin
  if plinth.current_user_id() is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  if not access.has_permission('manage_skills') then
    raise exception 'This needs the permission manage_skills.' using errcode = 'PL403';
  end if;
  if record_training_progress.progress is null or record_training_progress.progress not between 0 and 1 then
    raise exception 'progress must be from 0 to 1.'
      using errcode = 'PL422', schema = 'learning', table = 'training', column = 'progress';
  end if;
  perform from identity.users u where u.id = record_training_progress.user_id for key share;
  select t.* into v_result
  from learning.training t
  where t.user_id = record_training_progress.user_id and t.skill_id = record_training_progress.skill_id
  for no key update;
  if not found then
    raise exception 'There is no such training.' using errcode = 'PL404';
  end if;
  -- A report that comes late or twice never sets anybody back.
  if trunc(record_training_progress.progress, 4) <= v_result.progress then
    return v_result;
  end if;
  update learning.training t
  set progress = trunc(record_training_progress.progress, 4)
  where t.user_id = v_result.user_id and t.skill_id = v_result.skill_id
  returning * into v_result;
  return v_result;
end
$$;

comment on function learning.record_training_progress(user_id uuid, skill_id uuid, progress numeric) is 'Says how far a user''s active training is, from 0 to 1; at 1 it is completed. Less than before changes nothing. Needs manage_skills. PL404 when there is no such training, PL409 when it is not active.';
revoke execute on function learning.record_training_progress(user_id uuid, skill_id uuid, progress numeric) from public;
grant execute on function learning.record_training_progress(user_id uuid, skill_id uuid, progress numeric) to :PLINTH_USER;

-- Begins the signed-in user's completed training anew, as its next run from 0; one that is not completed goes on. PL404 when there is none.
create or replace function learning.restart_training(skill_id uuid)
  returns learning.training
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_user_id constant uuid := private.lock_own_account();
  v_result learning.training;
begin
  update learning.training t
  set status = 'active'
  where t.user_id = v_user_id and t.skill_id = restart_training.skill_id
  returning * into v_result;
  if not found then
    raise exception 'There is no such training.' using errcode = 'PL404';
  end if;
  return v_result;
end
$$;

comment on function learning.restart_training(skill_id uuid) is 'Begins the signed-in user''s completed training anew, as its next run from 0; one that is not completed goes on. PL404 when there is none.';
revoke execute on function learning.restart_training(skill_id uuid) from public;
grant execute on function learning.restart_training(skill_id uuid) to :PLINTH_USER;

-- Starts the signed-in user's training in a skill, or goes on after a pause; one that is active stays as it is. PL404 for an unknown skill, PL409 for a completed training.
create or replace function learning.start_training(skill_id uuid)
  returns learning.training
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_user_id constant uuid := private.lock_own_account();
  v_result learning.training;
begin
  if not exists (select from learning.skills s where s.id = start_training.skill_id and s.is_active) then
    raise exception 'There is no such skill.'
      using errcode = 'PL404', schema = 'learning', table = 'training', column = 'skill_id';
  end if;
  insert into learning.user_skills (user_id, skill_id) values (v_user_id, start_training.skill_id) on conflict do nothing;
  insert into learning.training as t (user_id, skill_id, status)
  values (v_user_id, start_training.skill_id, 'active')
  on conflict (user_id, skill_id) do update set status = 'active' where t.status = 'pending'
  returning * into v_result;
  if not found then
    select t.* into v_result
    from learning.training t
    where t.user_id = v_user_id and t.skill_id = start_training.skill_id;
  end if;
  if v_result.status = 'completed' then
    raise exception 'This training is completed.'
      using errcode = 'PL409', hint = 'Begin it anew with restart_training.', schema = 'learning', table = 'training', column = 'status';
  end if;
  return v_result;
end
$$;

comment on function learning.start_training(skill_id uuid) is 'Starts the signed-in user''s training in a skill, or goes on after a pause; one that is active stays as it is. PL404 for an unknown skill, PL409 for a completed training.';
revoke execute on function learning.start_training(skill_id uuid) from public;
grant execute on function learning.start_training(skill_id uuid) to :PLINTH_USER;

-- Trigger: a level is the sum of its evidence.
create or replace function learning.sum_skill_evidence()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_row learning.skill_evidence := case when tg_op = 'DELETE' then old else new end;
  v_level numeric;
begin
  perform from learning.user_skills us
  where us.user_id = v_row.user_id and us.skill_id = v_row.skill_id
  for no key update;
  select coalesce(sum(e.delta), 0) into v_level
  from learning.skill_evidence e
  where e.user_id = v_row.user_id and e.skill_id = v_row.skill_id;
  update learning.user_skills us
  set level = v_level
  where us.user_id = v_row.user_id and us.skill_id = v_row.skill_id and us.level <> v_level;
  return null;
end
$$;

comment on function learning.sum_skill_evidence() is 'Trigger: a level is the sum of its evidence.';
revoke execute on function learning.sum_skill_evidence() from public;
