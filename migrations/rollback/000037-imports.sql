--!restore llm/triggers/chats_activity.sql
--!restore rooms/triggers/room_messages.sql
--!restore llm/functions/export_chat.sql
--!restore private/functions/import_chats.sql
drop function private.import_messages(uuid, uuid, jsonb);
drop function private.imported_message_id(uuid, uuid, text, uuid);
