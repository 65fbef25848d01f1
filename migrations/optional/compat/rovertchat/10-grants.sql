do $$
declare
  v_view regclass;
begin
  for v_view in select c.oid from pg_class c where c.relnamespace = 'compat_rovertchat'::regnamespace and c.relkind = 'v'
  loop
    execute format('grant insert, update on %s to :PLINTH_APPLICATION, :PLINTH_COMPAT', v_view);
    if v_view::text !~* 'messages|settings' then
      execute format('grant delete on %s to :PLINTH_APPLICATION, :PLINTH_COMPAT', v_view);
    end if;
  end loop;
end
$$;

grant update (username, token_version) on compat_rovertchat.users, compat_rovertchat."Users" to :PLINTH_USER;
grant insert, update (title, updated_at, is_archived), delete on compat_rovertchat.chats, compat_rovertchat."Chats" to :PLINTH_USER;
grant insert on compat_rovertchat.messages, compat_rovertchat."Messages" to :PLINTH_USER;
grant insert, update on compat_rovertchat.usersettings, compat_rovertchat."UserSettings", compat_rovertchat.user_settings to :PLINTH_USER;
grant insert, update (is_active), delete
  on compat_rovertchat.usermodelaccess, compat_rovertchat."UserModelAccess", compat_rovertchat.user_model_access to :PLINTH_USER;
grant execute on all functions in schema compat_rovertchat to :PLINTH_APPLICATION, :PLINTH_USER;
