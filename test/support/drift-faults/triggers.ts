import type { Fault } from "./fault.ts";

export const TRIGGERS: readonly Fault[] = [
  {
    title: "a disabled trigger",
    sql: "alter table identity.users disable trigger _700_record_data_change",
    findings: [
      [
        "fail",
        "drift-structure",
        "trigger _700_record_data_change on identity.users: expected enabled yes, found no",
      ],
    ],
  },
  {
    title: "a trigger that only replicas run",
    sql: "alter table identity.users enable replica trigger _100_normalize",
    findings: [
      [
        "fail",
        "drift-structure",
        "trigger _100_normalize on identity.users: expected enabled yes, found on replicas only",
      ],
    ],
  },
  {
    title: "a dropped trigger",
    sql: "drop trigger _200_guard_token_version on identity.users",
    findings: [["fail", "schema", "trigger _200_guard_token_version on identity.users"]],
  },
  {
    title: "a trigger with another condition",
    sql: "drop trigger _500_revoke_tokens on identity.users; create trigger _500_revoke_tokens after update on identity.users for each row when (false) execute function private.revoke_user_tokens()",
    findings: [
      [
        "fail",
        "drift-structure",
        "trigger _500_revoke_tokens on identity.users: expected definition … FOR EACH ROW WHEN (new.token_version > old.token_version) EXECUTE FUNCTION priv…, found … FOR EACH ROW WHEN (false) EXECUTE FUNCTION private.revoke_user_tokens()",
      ],
    ],
  },
  {
    title: "an added trigger",
    sql: "create trigger spy after insert on identity.users for each row execute function plinth.touch_updated_at()",
    findings: [["warn", "drift-extra", "trigger spy on identity.users: not created by the migrations"]],
  },
  {
    title: "a foreign key without triggers",
    sql: "alter table private.user_passwords disable trigger all",
    by: "a superuser",
    findings: [
      [
        "fail",
        "drift-structure",
        "constraint user_passwords_user_id_fkey on private.user_passwords: expected disabled triggers no, found yes",
      ],
    ],
  },
  {
    title: "an event trigger",
    sql: "create function public.on_ddl() returns event_trigger language plpgsql as 'begin end'; create event trigger spy on ddl_command_end execute function public.on_ddl()",
    by: "a superuser",
    findings: [["warn", "drift-extra", "event trigger spy: not created by the migrations"]],
  },
  {
    title: "a rule",
    sql: "create rule spy as on update to llm.chats do also notify spy",
    findings: [["fail", "drift-extra", "rule spy on llm.chats: not created by the migrations"]],
  },
];
