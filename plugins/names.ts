import { jsonPgSmartTags } from "graphile-utils";

const name = (text: string) => ({ tags: { name: text } });

/**
 * API names of tables, columns and functions whose name in SQL breaks a rule of docs/api.md#names. SQL keeps its names, which
 * migrations, jobs and analytics use.
 */
export const NamesPlugin = jsonPgSmartTags(
  {
    version: 1,
    config: {
      class: {
        "access.effective_permissions": { attribute: { requires_second_factor: name("requires_mfa") } },
        "access.permissions": { attribute: { permission_name: name("name") } },
        "access.roles": { attribute: { role_name: name("name") } },
        "billing.active_user_subscriptions": {
          attribute: {
            plan_name: name("plan_display_name"),
            cancel_at_period_end: name("cancels_at_period_end"),
            current_period_start: name("current_period_started_at"),
            current_period_end: name("current_period_ends_at"),
            renewal_date: name("renews_on"),
            trial_end: name("trial_ends_at"),
          },
        },
        "billing.current_model_prices": { attribute: { effective_to: name("effective_until") } },
        "billing.model_prices": { attribute: { effective_to: name("effective_until") } },
        "billing.payments": {
          attribute: { period_start: name("period_started_at"), period_end: name("period_ends_at") },
        },
        "billing.subscription_plans": { attribute: { plan_name: name("display_name") } },
        "billing.usage_tracking": { attribute: { last_reset: name("last_reset_at") } },
        "billing.user_subscriptions": {
          attribute: {
            cancel_at_period_end: name("cancels_at_period_end"),
            current_period_start: name("current_period_started_at"),
            current_period_end: name("current_period_ends_at"),
            quota_period_start: name("quota_period_started_at"),
            quota_period_end: name("quota_period_ends_at"),
            renewal_date: name("renews_on"),
            trial_end: name("trial_ends_at"),
          },
        },
        "identity.consent_purposes": { attribute: { required: name("is_required") } },
        "identity.oauth_profiles": { attribute: { email_verified: name("is_email_verified") } },
        "identity.profiles": {
          tags: {
            foreignKey:
              "(id) references identity.users (id)|@fieldName user|@foreignFieldName profile|@forwardBehavior -*",
          },
        },
        "identity.user_security_status": { attribute: { mfa_enabled: name("is_mfa_enabled") } },
        "identity.user_security_settings": {
          constraint: {
            user_security_settings_user_id_fkey: { tags: { foreignFieldName: "securitySettings" } },
          },
        },
        "identity.user_settings": {
          constraint: { user_settings_user_id_fkey: { tags: { foreignFieldName: "settings" } } },
        },
        "learning.skills": { attribute: { skill_name: name("name") } },
        // User.prompts are those that the user wrote.
        "llm.user_prompts": {
          constraint: { user_prompts_user_id_fkey: { tags: { foreignFieldName: "userPrompts" } } },
        },
        "rooms.chat_rooms": {
          tags: { name: "rooms" },
          attribute: { ai_enabled: name("is_ai_enabled"), history_is_shared: name("is_history_shared") },
        },
        "security.rate_limit_rules": { attribute: { rule_name: name("name") } },
        "security.suspicious_activity_rules": { attribute: { rule_name: name("name") } },
      },
      procedure: {
        "billing.revise_plan": name("revise_subscription_plan"),
        "identity.remove_mfa_factor": name("delete_mfa_factor"),
        "learning.complete_item": name("complete_content_item"),
        "learning.delete_content": name("delete_content_item"),
        "learning.move_category": name("move_content_category"),
        "learning.publish_content": name("publish_content_item"),
        "learning.rate_content": name("rate_content_item"),
        "learning.restore_content": name("restore_content_item"),
        "learning.save_draft": name("save_content_draft"),
        "learning.unpublish_content": name("unpublish_content_item"),
        "rooms.respond_to_invite": name("respond_to_room_invite"),
        "rooms.revoke_invite": name("revoke_room_invite"),
        "rooms.set_room_role": name("set_room_member_role"),
      },
    },
  },
  null,
  {
    name: "PlinthNamesPlugin",
    version: "1.0.0",
    description: "Names tables, columns and functions evenly",
  },
);
