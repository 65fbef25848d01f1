import { jsonPgSmartTags } from "graphile-utils";

const values = (path: string) => ({ tags: { values: path } });
/** The arguments and result columns of a function. */
const named = (paths: Readonly<Record<string, string>>) => ({
  tags: { values: Object.entries(paths).map(([name, path]) => `${name} ${path}`) },
});

/**
 * Places without a CHECK that lists the values: views, composite types, functions, and a list with a stricter rule. Each names the
 * column or domain that has one, see EnumsPlugin.
 */
export const ValuesElsewherePlugin = jsonPgSmartTags(
  {
    version: 1,
    config: {
      class: {
        "access.access_explanation": {
          attribute: {
            verdict: values("access.access_verdict"),
            operation: values("access.explained_operation"),
          },
        },
        "access.explained_condition": { attribute: { operator: values("access.condition_operator") } },
        "access.explained_policy": { attribute: { command: values("access.policy_command") } },
        "billing.active_user_subscriptions": {
          attribute: {
            status: values("billing.user_subscriptions.status"),
            billing_cycle: values("billing.subscription_plans.billing_cycle"),
          },
        },
        "billing.grant_balance": { attribute: { source: values("billing.token_grants.source") } },
        "identity.api_tokens": { attribute: { scopes: values("identity.api_token_scope") } },
        "identity.inspected_account": {
          attribute: { account_status: values("identity.users.account_status") },
        },
        "identity.user_security_status": {
          attribute: { account_status: values("identity.users.account_status") },
        },
        "learning.heartbeat_result": {
          attribute: {
            outcome: values("learning.heartbeat_outcome"),
            reason: values("learning.heartbeat_refusal"),
          },
        },
        "learning.learning_analytics": { attribute: { training_status: values("learning.training.status") } },
        "learning.my_content_access": { attribute: { reason: values("learning.content_access_reason") } },
        "rooms.room_events": { attribute: { kind: values("rooms.room_event_kind") } },
        "security.system_finding": {
          attribute: { severity: values("security.security_audit_log.severity") },
        },
      },
      procedure: {
        "access.explain_access": named({
          operation: "access.explained_operation",
          database_role: "access.api_role",
        }),
        "access.model_access_of": named({ source: "access.model_access_source" }),
        "identity.set_account_status": named({ account_status: "identity.users.account_status" }),
        "learning.content_access": named({ reason: "learning.content_access_reason" }),
        "learning.content_search_facets": named({
          content_types: "learning.content_items.content_type",
          facet: "learning.content_search_facet",
        }),
        "learning.recommend_items": named({ reason: "learning.recommendation_reason" }),
        "learning.save_draft": named({ body_format: "learning.content_bodies.body_format" }),
        "learning.search_content": named({ content_types: "learning.content_items.content_type" }),
        "llm.finish_turn": named({ finish_reason: "llm.messages.finish_reason" }),
        "llm.rate_message": named({ rating: "llm.message_feedback.rating" }),
        "llm.search_chat_messages": named({ role: "llm.messages.role" }),
        "rooms.create_room": named({ room_type: "rooms.chat_rooms.room_type" }),
        "rooms.room_context": named({ sender_type: "rooms.room_messages.sender_type" }),
        "rooms.set_presence": named({ status: "rooms.presence.status" }),
        "rooms.set_room_role": named({ role: "rooms.room_members.role" }),
      },
    },
  },
  null,
  {
    name: "PlinthValuesElsewherePlugin",
    version: "1.0.0",
    description: "Names the lists of values of views, composite types and functions",
  },
);
