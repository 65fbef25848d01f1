import type { Alias } from "./page-data.ts";

/**
 * The names in the documents of the five systems that Plinth replaces, by system: the document's name, then Plinth's. Names that
 * are equal are listed too, because they tell a reader that the table is that of the document.
 */
const NAMES: Readonly<Record<string, string>> = {
  "Headphone Mode": `
    users = identity.users
    users.password_hash = private.user_passwords.password_hash
    users.salt = private.user_passwords.password_hash
    sessions = identity.user_sessions
    sessions.session_token = private.refresh_tokens.token_hash
    preferences = identity.user_settings
    preferences.preferences_data = identity.user_settings.preferences
    security = private.user_passwords
    security.hash_algorithm = private.user_passwords.hash_algorithm
    usage_tracking = billing.usage_tracking
    subscriptions = billing.user_subscriptions
    subscriptions.plan_type = billing.user_subscriptions.plan_id
    roles = access.roles
    permissions = access.permissions
    role_permissions = access.role_permissions
    user_roles = access.user_roles
    prompts = llm.prompts
    user_prompts = llm.user_prompts`,
  Socializer: `
    users = identity.users
    users.hashed_email = identity.users.hashed_email
    users.encryption_key = private.user_keys.wrapped_key
    users.conversation_memory = llm.conversation_memories.memory
    users.llm_provider = identity.user_settings.llm_provider
    users.llm_endpoint = identity.user_settings.llm_endpoint
    users.llm_model = identity.user_settings.llm_model
    token_blacklist = private.token_blacklist
    error_logs = security.error_logs
    skills = learning.skills
    user_skills = learning.user_skills
    training = learning.training
    user_preferences = identity.user_preferences
    chat_rooms = rooms.chat_rooms
    room_members = rooms.room_members
    room_messages = rooms.room_messages
    room_invites = rooms.room_invites
    general_chat_messages = rooms.general_chat_messages`,
  rovertChat: `
    Users = identity.users
    Users.last_login = identity.users.last_login_at
    Users.role = access.user_roles
    Users.token_version = identity.users.token_version
    ModelProviders = llm.model_providers
    Models = llm.models
    Chats = llm.chats
    Messages = llm.messages
    UserSettings = identity.user_settings
    UserModelAccess = access.user_model_access`,
  Cedrina: `
    users = identity.users
    users.hashed_password = private.user_passwords.password_hash
    users.role = access.user_roles
    users.tier = billing.user_subscriptions.plan_id
    users.preferences = identity.user_settings.preferences
    oauth_profiles = identity.oauth_profiles
    oauth_profiles.access_token = private.oauth_tokens.access_token_sealed
    oauth_profiles.refresh_token = private.oauth_tokens.refresh_token_sealed
    sessions = identity.user_sessions
    sessions.refresh_token = private.refresh_tokens.token_hash
    sessions.client_ip = identity.user_sessions.ip_address
    password_reset_tokens = private.password_reset_tokens
    casbin_rules = access.casbin_rules
    audit_logs = security.security_audit_log
    audit_logs.client_ip = security.security_audit_log.ip_address
    rate_limit_records = security.rate_limit_records`,
  "AI Training Platform": `
    users = identity.users
    roles = access.roles
    user_roles = access.user_roles
    user_verifications = private.user_verifications
    password_history = private.password_history
    user_security_settings = identity.user_security_settings
    subscription_plans = billing.subscription_plans
    user_subscriptions = billing.user_subscriptions
    user_subscriptions.current_period_end = billing.user_subscriptions.current_period_end
    payments = billing.payments
    subscription_changes = billing.subscription_changes
    content_categories = learning.content_categories
    content_items = learning.content_items
    content_items.rating = learning.content_ratings
    user_content_permissions = learning.user_content_permissions
    content_consumption = learning.content_consumption
    learning_analytics = learning.learning_analytics
    login_attempts = security.login_attempts
    user_sessions = identity.user_sessions
    api_tokens = identity.api_tokens
    refresh_tokens = private.refresh_tokens
    security_audit_log = security.security_audit_log
    audit_trail = security.audit_trail
    subscription_metrics = analytics.subscription_metrics
    content_popularity = analytics.content_popularity
    active_user_subscriptions = billing.active_user_subscriptions
    user_content_access = learning.user_content_access
    user_activity_summary = analytics.user_activity_summary
    user_security_status = identity.user_security_status
    track_login_attempt = security.track_login_attempt()`,
};

export const ALIASES: readonly Alias[] = Object.entries(NAMES).flatMap(([system, lines]) =>
  lines
    .trim()
    .split("\n")
    .map((line) => {
      const [name, to] = line.trim().split(" = ");
      return { system, name: name!, to: to! };
    }),
);
