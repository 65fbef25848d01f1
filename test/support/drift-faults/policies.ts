import type { Fault } from "./fault.ts";

export const POLICIES: readonly Fault[] = [
  {
    title: "a policy whose condition is true",
    sql: "alter policy select_own on identity.users using (true)",
    findings: [
      [
        "fail",
        "drift-access",
        "policy select_own on identity.users: expected using id = (( SELECT plinth.current_user_id() AS current_user_id)), found true",
      ],
    ],
  },
  {
    title: "a policy whose check is true",
    sql: "alter policy update_own on identity.users with check (true)",
    findings: [
      [
        "fail",
        "drift-access",
        "policy update_own on identity.users: expected with check id = (( SELECT plinth.current_user_id() AS current_user_id)), found true",
      ],
    ],
  },
  {
    title: "a policy for every role",
    sql: "alter policy all_own on llm.chats to public",
    findings: [
      ["fail", "drift-access", "policy all_own on llm.chats: expected to plinth_user, found public"],
    ],
  },
  {
    title: "a policy for another role",
    sql: "alter policy select_auditor on security.login_attempts to :PLINTH_ANONYMOUS",
    findings: [
      [
        "fail",
        "drift-access",
        "policy select_auditor on security.login_attempts: expected to plinth_user, found plinth_anonymous",
      ],
    ],
  },
  {
    title: "a policy for other commands",
    sql: "drop policy select_own on security.login_attempts; create policy select_own on security.login_attempts to :PLINTH_USER using (user_id = (select plinth.current_user_id()))",
    findings: [
      [
        "fail",
        "drift-access",
        "policy select_own on security.login_attempts: expected command select, found all",
      ],
    ],
  },
  {
    title: "a dropped policy",
    sql: "drop policy delete_permitted on identity.users",
    findings: [["fail", "schema", "policy delete_permitted on identity.users"]],
  },
  {
    title: "an added policy on a table of secrets",
    sql: "create policy backdoor on private.user_passwords for select to :PLINTH_USER using (true)",
    findings: [
      ["fail", "drift-access", "policy backdoor on private.user_passwords: not created by the migrations"],
    ],
  },
  {
    title: "an added policy that only restricts",
    sql: "create policy narrower on llm.chats as restrictive for select to :PLINTH_USER using (not is_archived)",
    findings: [["warn", "drift-access", "policy narrower on llm.chats: not created by the migrations"]],
  },
  {
    title: "a table without row security",
    sql: "alter table llm.messages disable row level security",
    findings: [["fail", "row-security", "llm.messages"]],
  },
  {
    title: "a partition without row security",
    sql: "alter table security.audit_trail_default disable row level security",
    findings: [["fail", "row-security", "security.audit_trail_default"]],
  },
  {
    title: "a table whose owner is subject to row security",
    sql: "alter table identity.users force row level security",
    findings: [["fail", "drift-access", "table identity.users: expected forced row security no, found yes"]],
  },
];
