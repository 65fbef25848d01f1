--! Previous: sha1:593c27207c84ec0da247266d691241566be9b05c
--! Hash: sha1:c68ddc71b8fa412e15de5ca17bbff5d48fbde17f
--! Message: skills and training

-- Skills, how well people have them and why we think so, and their trainings.

insert into access.permissions (permission_name, description) values
  ('manage_skills', 'Write the catalogue of skills, assess people''s skills and report their training.');

insert into access.role_permissions (role_id, permission_id)
select r.id, p.id
from access.roles r
cross join access.permissions p
where r.role_name = 'admin' and p.permission_name = 'manage_skills';

create table learning.skills (
  id uuid primary key default plinth.uuid_v7(),
  skill_name text not null,
  display_name text,
  description text not null default '',
  training_gain numeric(4, 2) not null default 1,
  is_active boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint skills_skill_name_key unique (skill_name),
  constraint skills_skill_name_is_a_lower_case_key check (skill_name ~ '^[a-z][a-z0-9_]{0,99}$'),
  constraint skills_display_name_check check (length(display_name) between 1 and 200 and display_name = trim(display_name)),
  constraint skills_description_check check (length(description) <= 10000),
  constraint skills_training_gain_is_from_0_to_10 check (training_gain between 0 and 10)
);

alter table learning.skills enable row level security;

comment on table learning.skills is 'One row per skill that people can have and train.';
comment on column learning.skills.id is 'UUIDv7.';
comment on column learning.skills.skill_name is 'Unique key of lower case letters, digits and underscores, such as active_listening.';
comment on column learning.skills.display_name is 'Name shown to people, or null.';
comment on column learning.skills.description is 'What somebody who has it can do.';
comment on column learning.skills.training_gain is 'By how much completing a training raises the level, 0 to 10.';
comment on column learning.skills.is_active is 'Skills out of use are hidden and cannot be taken on; what people have of them stays.';
comment on column learning.skills.created_at is 'When it was added.';
comment on column learning.skills.updated_at is 'When the row last changed.';

create table learning.user_skills (
  user_id uuid not null default plinth.current_user_id() references identity.users on delete cascade,
  skill_id uuid not null references learning.skills on delete cascade,
  level numeric(4, 2) not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (user_id, skill_id),
  constraint user_skills_level_is_from_0_to_10 check (level between 0 and 10)
);

alter table learning.user_skills enable row level security;

-- Serves the foreign key, and "who is good at this?".
create index user_skills_skill_id_level_idx on learning.user_skills (skill_id, level);

comment on table learning.user_skills is 'One row per user and skill they have taken on.';
comment on column learning.user_skills.user_id is 'Whose skill.';
comment on column learning.user_skills.skill_id is 'The skill.';
comment on column learning.user_skills.level is 'Proficiency from 0 to 10: always the sum of the evidence.';
comment on column learning.user_skills.created_at is 'When it was taken on.';
comment on column learning.user_skills.updated_at is 'When the level last changed.';

create table learning.skill_evidence (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null,
  skill_id uuid not null,
  kind text not null,
  delta numeric(4, 2) not null,
  source_key text,
  note text,
  recorded_by uuid default plinth.current_user_id() references identity.users on delete set null,
  created_at timestamptz not null default clock_timestamp(),
  constraint skill_evidence_user_id_skill_id_fkey
    foreign key (user_id, skill_id) references learning.user_skills (user_id, skill_id) on delete cascade,
  -- Also the index that the sum reads.
  constraint skill_evidence_user_id_skill_id_source_key_key unique (user_id, skill_id, source_key),
  constraint skill_evidence_kind_check check (kind in ('initial', 'assessment', 'training', 'content', 'adjustment')),
  constraint skill_evidence_delta_is_from_minus_10_to_10 check (delta between -10 and 10),
  constraint skill_evidence_source_key_check check (length(source_key) between 1 and 200),
  constraint skill_evidence_note_check check (length(note) between 1 and 2000)
);

alter table learning.skill_evidence enable row level security;

-- Serves the foreign key.
create index skill_evidence_recorded_by_idx on learning.skill_evidence (recorded_by);

comment on table learning.skill_evidence is 'One row per thing that moved a level, or was to: what, when, by how much. Levels are sums of it.';
comment on constraint skill_evidence_user_id_skill_id_fkey on learning.skill_evidence is
  E'@fieldName userSkill\n@foreignFieldName evidence';
comment on constraint skill_evidence_user_id_skill_id_source_key_key on learning.skill_evidence is E'@behavior -*';
comment on column learning.skill_evidence.id is 'UUIDv7.';
comment on column learning.skill_evidence.user_id is 'Whose level.';
comment on column learning.skill_evidence.skill_id is 'In which skill.';
comment on column learning.skill_evidence.kind is
  'initial (the level somebody came with), assessment (by a person or the application), training (a completed run), content (completed items) or adjustment (written by the owner).';
comment on column learning.skill_evidence.delta is 'By how much the level moved; less than was meant where 0 or 10 was reached.';
comment on column learning.skill_evidence.source_key is 'What it stems from, such as training:1; each counts once per user and skill. Null for what may repeat.';
comment on column learning.skill_evidence.note is 'Why, in words.';
comment on column learning.skill_evidence.recorded_by is 'Who was signed in; null for a job, psql or a deleted account.';
comment on column learning.skill_evidence.created_at is 'When.';

create table learning.training (
  user_id uuid not null default plinth.current_user_id() references identity.users on delete cascade,
  skill_id uuid not null references learning.skills on delete cascade,
  status text not null default 'pending',
  progress numeric(5, 4) not null default 0,
  run integer not null default 1,
  started_at timestamptz,
  completed_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (user_id, skill_id),
  constraint training_status_check check (status in ('pending', 'active', 'completed')),
  constraint training_progress_is_from_0_to_1 check (progress between 0 and 1),
  constraint training_is_completed_when_its_progress_is_1 check ((status = 'completed') = (progress = 1)),
  constraint training_completed_at_is_of_the_completed check ((status = 'completed') = (completed_at is not null)),
  constraint training_is_started_before_it_is_active check (status = 'pending' or started_at is not null),
  constraint training_run_is_positive check (run >= 1)
);

alter table learning.training enable row level security;

-- Serves the foreign key, and "who trains this?".
create index training_skill_id_status_idx on learning.training (skill_id, status);

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

--! Included private/functions/add_skill_evidence.sql
-- The one way to raise or lower a level with a reason. What would leave 0 to 10 counts as far as it goes, so that the sum stays
-- the level. The account is locked before what belongs to it, as everywhere; then the level, so that evidence of one user and
-- skill comes one after the other.
create or replace function private.add_skill_evidence(
  user_id uuid,
  skill_id uuid,
  kind text,
  delta numeric,
  source_key text default null,
  note text default null
)
  returns learning.skill_evidence
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_level numeric;
  v_result learning.skill_evidence;
begin
  perform from identity.users u where u.id = add_skill_evidence.user_id for key share;
  insert into learning.user_skills (user_id, skill_id)
  values (add_skill_evidence.user_id, add_skill_evidence.skill_id)
  on conflict do nothing;
  select us.level into v_level
  from learning.user_skills us
  where us.user_id = add_skill_evidence.user_id and us.skill_id = add_skill_evidence.skill_id
  for no key update;

  -- Said before: the first time counts.
  select e.* into v_result
  from learning.skill_evidence e
  where e.user_id = add_skill_evidence.user_id
    and e.skill_id = add_skill_evidence.skill_id
    and e.source_key = add_skill_evidence.source_key;
  if found then
    return v_result;
  end if;

  insert into learning.skill_evidence (user_id, skill_id, kind, delta, source_key, note, recorded_by)
  values (
    add_skill_evidence.user_id, add_skill_evidence.skill_id, add_skill_evidence.kind,
    least(greatest(v_level + add_skill_evidence.delta, 0), 10) - v_level,
    add_skill_evidence.source_key, add_skill_evidence.note, plinth.current_user_id()
  )
  returning * into v_result;
  return v_result;
end
$$;

comment on function private.add_skill_evidence(uuid, uuid, text, numeric, text, text) is
  'Records evidence and moves the level by as much of delta as fits into 0 to 10; a source_key said before changes nothing.';
--! EndIncluded private/functions/add_skill_evidence.sql
--! Included learning/triggers/user_skills.sql
-- The level of a skill is the sum of its evidence, whoever writes what: evidence that comes, changes or goes moves the level,
-- and a level that is written directly (by the owner; nobody else may) leaves evidence of itself.

-- The row of the level is the lock, so that two pieces of evidence at once are both counted: the sum is read by the next
-- statement, which sees what the other transaction committed.
create or replace function learning.sum_skill_evidence()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
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

create or replace trigger _500_sum_skill_evidence
  after insert or update of delta or delete on learning.skill_evidence
  for each row
  execute function learning.sum_skill_evidence();

create or replace function learning.note_skill_level()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
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

create or replace trigger _500_note_skill_level
  after insert or update of level on learning.user_skills
  for each row
  execute function learning.note_skill_level();

-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on learning.user_skills
  for each row
  execute function plinth.touch_updated_at();

create or replace trigger _900_touch_updated_at
  before update on learning.skills
  for each row
  execute function plinth.touch_updated_at();
--! EndIncluded learning/triggers/user_skills.sql
--! Included learning/triggers/training.sql
-- The states of a training, for every writer: pending → active, active → pending (a pause) or completed, completed → active
-- (the next run, from the beginning). A row is the training of its user and skill, so there is never a second one.
create or replace function learning.move_training()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
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

comment on function learning.move_training() is
  'Trigger: the state machine of a training; PL409 for a change of state that there is not.';

create or replace trigger _100_move_training
  before insert or update on learning.training
  for each row
  execute function learning.move_training();

-- Each completed run is evidence once, however often it is reported.
create or replace function learning.credit_training()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
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

create or replace trigger _500_credit_training_begun
  after insert on learning.training
  for each row
  when (new.status = 'completed')
  execute function learning.credit_training();

create or replace trigger _500_credit_training
  after update on learning.training
  for each row
  when (new.status = 'completed' and old.status <> 'completed')
  execute function learning.credit_training();

-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on learning.training
  for each row
  execute function plinth.touch_updated_at();
--! EndIncluded learning/triggers/training.sql
--! Included learning/functions/assess_skill.sql
-- What a trainer, or the application for one, finds out about somebody's skill.
create or replace function learning.assess_skill(
  user_id uuid,
  skill_id uuid,
  delta numeric,
  note text default null,
  event_key text default null
)
  returns learning.skill_evidence
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function learning.assess_skill(uuid, uuid, numeric, text, text) is
  'Raises or lowers a user''s level (within 0 to 10) and keeps it as evidence; repeated with the same event_key it changes nothing. Needs manage_skills. PL404 for an unknown user or skill, PL422 for a delta outside -10 to 10.';
grant execute on function learning.assess_skill(uuid, uuid, numeric, text, text) to :PLINTH_USER;
--! EndIncluded learning/functions/assess_skill.sql
--! Included learning/functions/training.sql
-- What a learner does with a training: each call says how it shall be, so repeating one changes nothing.

-- The account before what belongs to it, as everywhere.
create or replace function private.lock_own_account()
  returns uuid
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform from identity.users u where u.id = plinth.current_user_id() for key share;
  if not found then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  return plinth.current_user_id();
end
$$;

comment on function private.lock_own_account() is
  'The signed-in user''s id, whose account cannot be deleted before the transaction ends; PL401 for nobody.';

create or replace function learning.start_training(skill_id uuid)
  returns learning.training
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function learning.start_training(uuid) is
  'Starts the signed-in user''s training in a skill, or goes on after a pause; one that is active stays as it is. PL404 for an unknown skill, PL409 for a completed training.';
grant execute on function learning.start_training(uuid) to :PLINTH_USER;

create or replace function learning.pause_training(skill_id uuid)
  returns learning.training
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function learning.pause_training(uuid) is
  'Pauses the signed-in user''s training; its progress is kept. PL404 when there is none, PL409 when it is completed.';
grant execute on function learning.pause_training(uuid) to :PLINTH_USER;

create or replace function learning.restart_training(skill_id uuid)
  returns learning.training
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function learning.restart_training(uuid) is
  'Begins the signed-in user''s completed training anew, as its next run from 0; one that is not completed goes on. PL404 when there is none.';
grant execute on function learning.restart_training(uuid) to :PLINTH_USER;

-- Progress is found out by others than the learner: by what they complete, or by a trainer.
create or replace function learning.record_training_progress(user_id uuid, skill_id uuid, progress numeric)
  returns learning.training
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function learning.record_training_progress(uuid, uuid, numeric) is
  'Says how far a user''s active training is, from 0 to 1; at 1 it is completed. Less than before changes nothing. Needs manage_skills. PL404 when there is no such training, PL409 when it is not active.';
grant execute on function learning.record_training_progress(uuid, uuid, numeric) to :PLINTH_USER;
--! EndIncluded learning/functions/training.sql
--! Included learning/policies/skills.sql
-- Everybody reads the catalogue; manage_skills writes it and sees what is out of use.
revoke all on learning.skills from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.skills to :PLINTH_ANONYMOUS;
grant
  select,
  insert (skill_name, display_name, description, training_gain, is_active),
  update (skill_name, display_name, description, training_gain, is_active),
  delete
  on learning.skills to :PLINTH_USER;

drop policy if exists select_active on learning.skills;
create policy select_active on learning.skills
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (is_active);
comment on policy select_active on learning.skills is 'Everybody reads the skills in use.';

drop policy if exists all_manager on learning.skills;
create policy all_manager on learning.skills
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_skills')))
  with check ((select access.has_permission('manage_skills')));
comment on policy all_manager on learning.skills is 'The permission manage_skills reads and writes all skills.';
--! EndIncluded learning/policies/skills.sql
--! Included learning/policies/user_skills.sql
-- Users see their own levels and take on skills at level 0; only evidence moves a level. No update, no delete.
revoke all on learning.user_skills from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, insert (skill_id) on learning.user_skills to :PLINTH_USER;

drop policy if exists select_own on learning.user_skills;
create policy select_own on learning.user_skills
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on learning.user_skills is 'Users read their own levels.';

drop policy if exists insert_own on learning.user_skills;
create policy insert_own on learning.user_skills
  for insert to :PLINTH_USER
  with check (
    user_id = (select plinth.current_user_id())
    -- Reads as who asks: a skill out of use is one they cannot see.
    and skill_id in (select s.id from learning.skills s)
  );
comment on policy insert_own on learning.user_skills is 'Users take on skills they can see.';

drop policy if exists select_manager on learning.user_skills;
create policy select_manager on learning.user_skills
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_skills')));
comment on policy select_manager on learning.user_skills is 'The permission manage_skills reads everybody''s levels.';
--! EndIncluded learning/policies/user_skills.sql
--! Included learning/policies/skill_evidence.sql
-- Read by who it is about and by manage_skills; written by functions only, and never changed by anybody but the owner.
revoke all on learning.skill_evidence from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.skill_evidence to :PLINTH_USER;

drop policy if exists select_own on learning.skill_evidence;
create policy select_own on learning.skill_evidence
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on learning.skill_evidence is 'Users read what moved their own levels.';

drop policy if exists select_manager on learning.skill_evidence;
create policy select_manager on learning.skill_evidence
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_skills')));
comment on policy select_manager on learning.skill_evidence is 'The permission manage_skills reads all evidence.';
--! EndIncluded learning/policies/skill_evidence.sql
--! Included learning/policies/training.sql
-- Read by the learner and by manage_skills. Written through functions only: see learning.start_training and its relatives.
revoke all on learning.training from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.training to :PLINTH_USER;

drop policy if exists select_own on learning.training;
create policy select_own on learning.training
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on learning.training is 'Users read their own trainings.';

drop policy if exists select_manager on learning.training;
create policy select_manager on learning.training
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_skills')));
comment on policy select_manager on learning.training is 'The permission manage_skills reads everybody''s trainings.';
--! EndIncluded learning/policies/training.sql
