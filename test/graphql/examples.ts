import { RBAC_MODEL } from "../support/access-probes/casbin-model.ts";

/**
 * How the generated mutations of a table are tried, in the order create, update, delete. Of values, `:ada` is an id of
 * `IDS`, and `select …` a query for one.
 */
export interface Example {
  /** The user who may do it. */
  readonly by: string;
  /** The user who may not do it; bob if omitted. */
  readonly stranger?: string;
  /** Values of the row to create. */
  readonly create?: Readonly<Record<string, unknown>>;
  /** Whether every user may create such a row, which is then theirs. */
  readonly isOpen?: boolean;
  /** Condition in SQL for the row to change when none can be created. */
  readonly row?: string;
  readonly patch?: Readonly<Record<string, unknown>>;
  /** The user who may delete the row, if not `by`. */
  readonly deletedBy?: string;
}

/** By the type of the row. */
export const EXAMPLES: Readonly<Record<string, Example>> = {
  CasbinModel: {
    by: "manage_access_rules",
    create: { name: "site", definition: RBAC_MODEL },
    patch: { description: "The pages of the site" },
  },
  CasbinRule: {
    by: "manage_access_rules",
    create: { ptype: "p", v0: "writer", v1: "report", v2: "write" },
    patch: { isActive: false },
  },
  Chat: { by: "ada", isOpen: true, create: { title: "Plinths" }, patch: { title: "Columns" } },
  ConsentPurpose: {
    by: "manage_consents",
    create: { name: "research", version: 1, title: "Research", textUrl: "https://example.org/1" },
    patch: { title: "Science" },
  },
  ContentCategory: {
    by: "edit_content",
    create: { slug: "stone", name: "Stone" },
    patch: { description: "Granite and basalt" },
  },
  ContentItem: {
    by: "edit_content",
    create: { slug: "basalt", title: "Basalt", categoryId: ":shown", contentType: "lesson" },
    patch: { title: "Granite", tags: ["hard"] },
  },
  ContentPrerequisite: { by: "edit_content", create: { itemId: ":hidden", requiredItemId: ":granted" } },
  ContentRating: { by: "ada", row: "user_id = :ada" },
  ContentSkill: {
    by: "edit_content",
    create: { itemId: ":granted", skillId: ":shown", gain: "0.5" },
    patch: { gain: "0.75" },
  },
  DataRightsSetting: { by: "admin", row: "true", patch: { exportLifetime: { days: 3 } } },
  GeneralChatMute: {
    by: "admin",
    create: { userId: ":chief", reason: "noise" },
    patch: { mutedUntil: "2030-01-01T00:00:00+00:00" },
  },
  GeneralChatSetting: { by: "moderate_general_chat", row: "true", patch: { slowModeSeconds: 30 } },
  Message: { by: "ada", create: { chatId: ":ada", role: "user", content: "Hello" } },
  MfaFactor: { by: "ada", row: "user_id = :ada", patch: { name: "phone" } },
  Model: {
    by: "manage_models",
    create: { providerId: ":shown", name: "large", displayName: "Large" },
    patch: { displayName: "Larger", isPublic: true },
  },
  ModelPrice: {
    by: "manage_models",
    create: {
      modelId: ":shown",
      currency: "EUR",
      inputPricePerMillionTokens: "1.5",
      outputPricePerMillionTokens: "2",
    },
    patch: { outputPricePerMillionTokens: "3" },
  },
  ModelProvider: { by: "manage_models", create: { name: "mill" }, patch: { name: "quarry" } },
  Permission: {
    by: "manage_roles",
    create: { name: "carve_stone" },
    patch: { description: "Carve stone." },
    // New permissions belong to the role admin.
    deletedBy: "admin",
  },
  PlanModelAccess: {
    by: "grant_model_access",
    create: { planCode: "free", modelId: ":hidden" },
    patch: { reason: "Part of every plan." },
  },
  PlanPrice: {
    by: "manage_plans",
    create: {
      planId: "select id from billing.subscription_plans where code = 'premium'",
      provider: "stripe",
      providerPriceId: "price_2",
    },
  },
  Prompt: {
    by: "ada",
    isOpen: true,
    create: { userId: ":ada", name: "summary", content: "Summarise it." },
    patch: { content: "Summarise it in one line." },
  },
  PromptShare: { by: "bob", stranger: "ada", create: { promptId: ":granted", userId: ":chief" } },
  RateLimitRule: {
    by: "manage_security",
    row: "rule_name = (select min(rule_name) from security.rate_limit_rules)",
    patch: { limitValue: 7 },
  },
  RetentionPolicy: {
    by: "manage_security",
    row: "log = 'server_log'",
    patch: { action: "keep" },
  },
  Role: { by: "manage_roles", create: { name: "mason" }, patch: { rank: 3 } },
  RoleModelAccess: {
    by: "grant_model_access",
    create: { roleId: "select id from access.roles where role_name = 'user'", modelId: ":hidden" },
    patch: { reason: "For everyone." },
  },
  RolePermission: {
    by: "manage_roles",
    create: {
      roleId: "select id from access.roles where role_name = 'user'",
      permissionId: "select id from access.permissions where permission_name = 'spare'",
    },
  },
  RoomBan: { by: "ada", row: "room_id = :own" },
  RoomMember: { by: "ada", row: "room_id = :own and user_id = :ada", patch: { isMuted: true } },
  Skill: { by: "manage_skills", create: { name: "masonry" }, patch: { displayName: "Masonry" } },
  SubscriptionPlan: {
    by: "manage_plans",
    create: { code: "gold", displayName: "Gold", priceCents: "900" },
    patch: { displayName: "Golden" },
  },
  SuspiciousActivityRule: {
    by: "manage_security",
    row: "rule_name = (select min(rule_name) from security.suspicious_activity_rules)",
    patch: { isEnabled: false },
  },
  UsageLimit: {
    by: "manage_users",
    create: { userId: ":ada", period: "month", maxTokens: "1000" },
    patch: { maxTokens: "2000" },
  },
  UserContentPermission: {
    by: "manage_content_access",
    create: { userId: ":ada", itemId: ":hidden", permission: "allow" },
    patch: { reason: "beta" },
  },
  UserModelAccess: {
    by: "grant_model_access",
    create: { userId: ":ada", modelId: ":hidden" },
    patch: { isActive: false },
  },
  UserPreference: {
    by: "ada",
    isOpen: true,
    create: { preferenceType: "style", preferenceKey: "tone", preferenceValue: "dry" },
    patch: { confidence: 0.5 },
  },
  UserSecuritySetting: { by: "ada", row: "user_id = :ada", patch: { sessionTimeoutMinutes: 20 } },
  UserSession: { by: "ada", row: "user_id = :ada", patch: { deviceName: "Desk" } },
  UserSetting: { by: "ada", row: "user_id = :ada", patch: { displayName: "Countess" } },
  UserSkill: { by: "ada", isOpen: true, create: { skillId: ":granted" } },
  // Last, because others need Ada's room and Bob.
  Room: { by: "ada", row: "id = :own", patch: { name: "Orchard" } },
  User: {
    by: "bob",
    stranger: "ada",
    row: "id = :bob",
    patch: { profileData: { likes: "stone" } },
    deletedBy: "delete_user",
  },
};
