-- SQLAlchemy quotes names with capitals, and some statements use underscores. Writes pass through to the views above.
do $$
declare
  v_this record;
begin
  for v_this in
    select *
    from (values
      ('Users', 'users'),
      ('ModelProviders', 'modelproviders'),
      ('model_providers', 'modelproviders'),
      ('Models', 'models'),
      ('Chats', 'chats'),
      ('Messages', 'messages'),
      ('UserSettings', 'usersettings'),
      ('user_settings', 'usersettings'),
      ('UserModelAccess', 'usermodelaccess'),
      ('user_model_access', 'usermodelaccess')
    ) names (alias, view)
  loop
    execute format('create view compat_rovertchat.%I as select v.* from compat_rovertchat.%I v', v_this.alias, v_this.view);
    execute format(
      'comment on view compat_rovertchat.%I is %L', v_this.alias, format('Other spelling of compat_rovertchat.%s.', v_this.view)
    );
    execute (
      select string_agg(
        format(
          'comment on column compat_rovertchat.%I.%I is %L', v_this.alias, a.attname, col_description(a.attrelid, a.attnum)
        ), ';'
      )
      from pg_attribute a
      where a.attrelid = ('compat_rovertchat.' || v_this.view)::regclass and a.attnum > 0
    );
  end loop;
end
$$;
