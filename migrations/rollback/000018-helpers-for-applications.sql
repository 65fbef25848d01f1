drop function plinth.enqueue_job(text, jsonb);
drop function plinth.keep_updated_at(regclass);
drop function plinth.track_changes(regclass, text, text[], text[]);
drop function plinth.readable_by_all(regclass);
drop function plinth.with_permission(regclass, text, text);
drop function plinth.own_rows(regclass, text, text);
drop function private.replace_policies(regclass, text, text, text, text, text);
drop function private.replace_policy(regclass, text, text, text, text, text);
drop function private.granted_commands(text);
