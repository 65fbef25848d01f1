// Mutants of policies that change nothing for anyone, by name, each with the reason. The test fails if it detects one of them.

import type { Equivalents } from "./score.ts";

const UNNAMED = ["authenticator", "service", "worker", "analyst"];
/** The public includes visitors: only where policies for visitors let them see the same rows. */
const OTHERS = [...UNNAMED, "public"];
const ALL_OTHERS = [...OTHERS, "anonymous"];
const MANAGES_ROLES = "( SELECT access.has_permission('manage_roles'::text) AS has_permission)";
const CALLER = "( SELECT plinth.current_user_id() AS current_user_id)";

const REASONS: readonly { readonly reason: string; readonly mutants: readonly string[] }[] = [
  {
    reason: "The condition does not depend on the row, and USING has already evaluated it for the same user.",
    mutants: [
      "access.permissions update_manager",
      "access.roles update_manager",
      "billing.subscription_plans update_manager",
      "identity.data_rights_settings update_manager",
      "learning.content_categories update_editor",
      "rooms.general_chat_settings update_moderator",
      "security.rate_limit_rules update_manager",
      "security.retention_policies update_manager",
      "security.suspicious_activity_rules update_manager",
    ].map((policy) => `${policy}: with check true`),
  },
  {
    reason: "USING has already evaluated this part for the same user.",
    mutants: [
      `access.roles update_manager: with check without ${MANAGES_ROLES}`,
      `access.user_roles update_manager: with check without ${MANAGES_ROLES}`,
    ],
  },
  {
    reason: "The role's id can change only to a new one, which has no permissions yet.",
    mutants: ["access.roles update_manager: with check without access.may_assign_role(id, now())"],
  },
  {
    reason: "Other policies allow the same users each command for the same rows.",
    mutants: [
      "access.permissions delete_manager: for all",
      "access.roles delete_manager: for all",
      "access.user_roles insert_manager: for all",
      "access.user_roles update_manager: for all",
      "learning.content_categories delete_editor: for all",
      "learning.content_categories insert_editor: for all",
      "learning.content_categories update_editor: for all",
      "learning.content_ratings insert_own: for all",
      "learning.content_skills all_editor: not for select",
      "llm.prompts all_editor: not for select",
    ],
  },
  {
    reason:
      "The condition reads a table as the caller, and no policy of that table names the role: it sees no row there.",
    mutants: [
      ...also(ALL_OTHERS, "access.role_model_access select_own"),
      ...also(OTHERS, "learning.content_bodies select_accessible"),
      ...also(UNNAMED, "learning.content_bodies select_author"),
      ...also(OTHERS, "learning.content_prerequisites select_visible"),
      ...also(UNNAMED, "learning.content_versions select_author"),
      ...also(OTHERS, "learning.content_versions select_published"),
      ...also(UNNAMED, "learning.content_ratings insert_own"),
      ...also(OTHERS, "learning.content_skills select_visible"),
      ...also(UNNAMED, "learning.user_skills insert_own"),
      ...also(OTHERS, "llm.model_providers select_usable"),
      ...also(OTHERS, "llm.prompt_labels select_readable"),
      ...also(OTHERS, "llm.prompt_versions select_readable"),
      ...also(ALL_OTHERS, "llm.prompts select_shared"),
      ...also(ALL_OTHERS, "rooms.room_answers select_member"),
      ...also(ALL_OTHERS, "rooms.room_changes select_member"),
      ...also(ALL_OTHERS, "rooms.room_message_mentions select_with_message"),
      ...also(ALL_OTHERS, "rooms.room_message_reactions select_with_message"),
      ...also(ALL_OTHERS, "rooms.room_message_revisions select_moderator"),
      ...also(ALL_OTHERS, "rooms.room_messages select_member"),
    ],
  },
  {
    reason:
      "The sub-select reads as the caller: the policies of its table leave only rows that fulfil this part.",
    mutants: [
      "llm.model_providers select_usable: using without is_active",
      "llm.model_providers select_usable: using without (m.id IN ( SELECT access.usable_model_ids() AS usable_model_ids))",
      `llm.prompts select_shared: using without (s.user_id = ${CALLER})`,
      `rooms.general_chat_messages select_unblocked: using without (b.user_id = ${CALLER})`,
      `rooms.presence select_fellow_member: using without (b.user_id = ${CALLER})`,
      "rooms.presence select_fellow_member: using without (m.room_id IN ( SELECT rooms.my_room_ids() AS my_room_ids))",
      `rooms.room_messages select_member: using without (b.user_id = ${CALLER})`,
      `rooms.typing select_member: using without (b.user_id = ${CALLER})`,
    ],
  },
  {
    reason: "Another part allows the same rows; this one is there because it costs less.",
    mutants: [
      `rooms.room_members select_own: using without (user_id = ${CALLER})`,
      "rooms.room_messages select_member: using without (NOT is_private)",
      `rooms.room_messages select_member: using without (sender_id = ${CALLER})`,
    ],
  },
  {
    reason: "The view's own conditions leave only rows that its reader may see.",
    mutants: [
      "learning.my_item_progress: runs with the rights of its owner",
      "rooms.unread_counts: runs with the rights of its owner",
    ],
  },
  {
    reason: "The view reads only views of analytics, which its reader may read as well.",
    mutants: [
      "analytics.account_security: runs with the rights of its reader",
      "analytics.active_user_subscriptions: runs with the rights of its reader",
      "analytics.audit_logs: runs with the rights of its reader",
      "analytics.sessions: runs with the rights of its reader",
    ],
  },
];

function also(roles: readonly string[], policy: string): string[] {
  return roles.map((role) => `${policy}: also to ${role}`);
}

export const EQUIVALENT_POLICIES: Equivalents = new Map(
  REASONS.flatMap(({ reason, mutants }) => mutants.map((name) => [name, reason] as const)),
);
