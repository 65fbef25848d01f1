create view compat_socializer.user_skills as
select u.number as user_id, s.number as skill_id, floor(us.level)::integer as level
from learning.user_skills us
join plinth.external_ids u on u.system = 'socializer' and u.relation = 'users' and u.row_id = us.user_id
join plinth.external_ids s on s.system = 'socializer' and s.relation = 'skills' and s.row_id = us.skill_id;

comment on view compat_socializer.user_skills is 'Levels. Grain: one row per user and skill.';
comment on column compat_socializer.user_skills.user_id is 'Number of the user.';
comment on column compat_socializer.user_skills.skill_id is 'Number of the skill.';
comment on column compat_socializer.user_skills.level is 'Level from 0 to 10, without its decimals.';

create function compat_socializer.write_user_skills()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_row constant compat_socializer.user_skills := case when tg_op = 'DELETE' then old else new end;
  v_user constant uuid := compat.row_id('socializer', 'users', v_row.user_id);
  v_skill constant uuid := compat.row_id('socializer', 'skills', v_row.skill_id);
  v_level integer := 0;
  v_before text;
begin
  if tg_op = 'DELETE' then
    delete from learning.user_skills us where us.user_id = v_user and us.skill_id = v_skill;
    return case when found then old end;
  elsif tg_op = 'INSERT' then
    v_before := compat.act_as(v_user);
    insert into learning.user_skills (skill_id) values (v_skill);
    perform compat.act_as_before(v_before);
  elsif (new.user_id, new.skill_id) <> (old.user_id, old.skill_id) then
    raise exception 'The user and the skill of a level do not change.' using errcode = 'PL422';
  else
    v_level := old.level;
  end if;
  new.level := coalesce(new.level, 0);
  if new.level <> v_level then
    update learning.user_skills us set level = new.level where us.user_id = v_user and us.skill_id = v_skill;
  end if;
  return new;
end
$$;

comment on function compat_socializer.write_user_skills() is
  'Trigger: adds a skill to a user and, for the application, sets its level, which is recorded as evidence. Users start at 0.';

call compat.write_through('socializer', 'user_skills', 'insert or update or delete');

grant insert, update, delete on compat_socializer.user_skills to :PLINTH_APPLICATION;
grant insert on compat_socializer.user_skills to :PLINTH_USER;
