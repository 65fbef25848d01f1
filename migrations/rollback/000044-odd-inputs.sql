--!restore llm/functions/active_path.sql
--!restore llm/functions/message_deltas_after.sql
--!restore llm/functions/search_chat_messages.sql
--!restore rooms/views/room_events.sql
--!restore rooms/functions/recent_room_messages.sql
--!restore rooms/functions/room_context.sql
--!restore rooms/functions/search_room_messages.sql
--!restore learning/functions/recommend_items.sql
--!restore learning/functions/search_content.sql

alter table identity.user_preferences drop constraint user_preferences_preference_value_is_a_value;
alter table llm.prompt_versions drop constraint prompt_versions_variables_is_a_list;
