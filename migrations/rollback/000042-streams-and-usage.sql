drop function llm.append_deltas(uuid, integer, text[], text[]);
drop function private.append_deltas(uuid, integer, text[], text[]);
drop function private.write_deltas(uuid, integer, text[], text[], uuid, text);
drop function private.report_turn_usage(uuid, bigint, bigint, bigint, bigint);
drop function llm.finish_turn(uuid, text, integer, jsonb, bigint, bigint);
drop function llm.break_off_turn(uuid, text, text, bigint, bigint);
--!restore llm/functions/write_turns.sql
