create view compat_socializer.training as
select
  u.number as user_id,
  s.number as skill_id,
  t.status,
  t.progress::double precision as progress,
  t.started_at,
  t.completed_at
from learning.training t
join plinth.external_ids u on u.system = 'socializer' and u.relation = 'users' and u.row_id = t.user_id
join plinth.external_ids s on s.system = 'socializer' and s.relation = 'skills' and s.row_id = t.skill_id;

comment on view compat_socializer.training is 'Trainings. Grain: one row per user and skill.';
comment on column compat_socializer.training.user_id is 'Number of the user.';
comment on column compat_socializer.training.skill_id is 'Number of the skill.';
comment on column compat_socializer.training.status is 'State: pending, active or completed.';
comment on column compat_socializer.training.progress is 'Completed share, from 0.0 to 1.0.';
comment on column compat_socializer.training.started_at is 'Start, or null.';
comment on column compat_socializer.training.completed_at is 'Time of completion, or null.';

create function compat_socializer.write_training()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_row constant compat_socializer.training := case when tg_op = 'DELETE' then old else new end;
  v_user constant uuid := compat.row_id('socializer', 'users', v_row.user_id);
  v_skill constant uuid := compat.row_id('socializer', 'skills', v_row.skill_id);
  v_was compat_socializer.training;
  v_before text;
begin
  if tg_op = 'DELETE' then
    delete from learning.training t where t.user_id = v_user and t.skill_id = v_skill;
    return case when found then old end;
  elsif tg_op = 'INSERT' then
    if exists (select from compat_socializer.training t where (t.user_id, t.skill_id) = (new.user_id, new.skill_id)) then
      raise exception 'This user already trains this skill.' using errcode = '23505', table = 'training';
    end if;
    new.status := coalesce(new.status, 'pending');
    if new.status = 'pending' then
      insert into learning.training (user_id, skill_id) values (v_user, v_skill);
    else
      v_before := compat.act_as(v_user);
      perform learning.start_training(v_skill);
      perform compat.act_as_before(v_before);
    end if;
  elsif (new.user_id, new.skill_id) <> (old.user_id, old.skill_id) then
    raise exception 'The user and the skill of a training do not change.' using errcode = 'PL422';
  end if;
  select t.* into v_was from compat_socializer.training t where (t.user_id, t.skill_id) = (new.user_id, new.skill_id);
  if (new.status, coalesce(new.progress, 0)) <> (v_was.status, v_was.progress) then
    update learning.training t
    set status = new.status, progress = round(coalesce(new.progress, 0)::numeric, 4)
    where t.user_id = v_user and t.skill_id = v_skill;
  end if;
  select t.* into new from compat_socializer.training t where (t.user_id, t.skill_id) = (new.user_id, new.skill_id);
  return new;
end
$$;

comment on function compat_socializer.write_training() is
  'Trigger: starts a training and, for the application, moves it on; full progress completes it. PL409 for an invalid transition.';

call compat.write_through('socializer', 'training', 'insert or update or delete');

grant insert, update, delete on compat_socializer.training to :PLINTH_APPLICATION;
grant insert on compat_socializer.training to :PLINTH_USER;
