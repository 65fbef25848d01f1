-- Drops every schema of Plinth. `restrict` on purpose: the later rollbacks must have emptied them.
drop extension btree_gist;
drop function
  plinth.current_user_id(), plinth.current_session_id(), plinth.correlation_id(), plinth.client_ip(),
  plinth.user_agent(), plinth.uuid_v7(), plinth.touch_updated_at(), access.has_permission(text);
drop schema plinth;
drop schema identity;
drop schema access;
drop schema billing;
drop schema llm;
drop schema security;
drop schema analytics;
drop schema private;
alter default privileges grant execute on functions to public;
