create view compat_socializer.skills as
select x.number as id, s.skill_name
from learning.skills s
join plinth.external_ids x on x.system = 'socializer' and x.relation = 'skills' and x.row_id = s.id;

comment on view compat_socializer.skills is 'Skills. Grain: one row per skill; users see those in use.';
comment on column compat_socializer.skills.id is 'Number of the skill.';
comment on column compat_socializer.skills.skill_name is 'Unique key of lower case letters, digits and underscores.';

create function compat_socializer.write_skills()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_id uuid := case when tg_op <> 'INSERT' then compat.row_id('socializer', 'skills', old.id) end;
begin
  if tg_op = 'DELETE' then
    delete from learning.skills s where s.id = v_id;
    return case when found then old end;
  elsif tg_op = 'INSERT' then
    insert into learning.skills (skill_name) values (new.skill_name) returning id into v_id;
    new.id := compat.new_number('socializer', 'skills', v_id, new.id);
  else
    update learning.skills s set skill_name = new.skill_name where s.id = v_id;
    if not found then
      return null;
    end if;
    new.id := old.id;
  end if;
  return new;
end
$$;

comment on function compat_socializer.write_skills() is 'Trigger: adds, renames and deletes skills; users need the permission manage_skills.';

call compat.write_through('socializer', 'skills', 'insert or update or delete');

grant insert, update, delete on compat_socializer.skills to :PLINTH_APPLICATION, :PLINTH_USER;
