import { PlinthError } from "../support/errors.ts";

/** A part of Plinth that an application can leave out, by the names of what belongs to it. */
interface Module {
  /** The modules that it cannot work without. */
  readonly requires: readonly ModuleName[];
  /** A schema with everything in it that no other module names, or one table, view or function. */
  readonly relations: readonly string[];
  readonly plugins: readonly string[];
  readonly jobs: readonly string[];
}

export type ModuleName =
  | "billing"
  | "casbin"
  | "chats"
  | "learning"
  | "memory"
  | "payments"
  | "prompts"
  | "rooms";

/** The one place that says what belongs to a module. Everything else is the core: accounts, access and security. */
export const MODULES: Readonly<Record<ModuleName, Module>> = {
  billing: {
    requires: [],
    relations: ["billing"],
    plugins: [],
    jobs: [
      "advance-subscriptions",
      "grant-free-quotas",
      "refresh-subscription-metrics",
      "expire-token-holds",
      "reset-usage-tracking",
      "retire-token-grants",
    ],
  },
  payments: {
    requires: ["billing"],
    relations: ["billing.payments", "billing.provider_customers"],
    plugins: ["PlinthCheckoutPlugin"],
    jobs: ["process-payment-events", "cancel-provider-subscriptions"],
  },
  chats: {
    // Each answer reserves tokens before it starts, and its usage is charged when it ends.
    requires: ["billing"],
    relations: [
      "llm",
      "access.can_use_model",
      "access.model_access_of",
      "access.plan_model_access",
      "access.role_model_access",
      "access.usable_model_ids",
      "access.user_model_access",
      "billing.current_model_prices",
      "billing.model_prices",
    ],
    plugins: ["PlinthMessageDeltasPlugin", "PlinthModelKeysPlugin"],
    jobs: ["break-off-expired-turns", "delete-ended-turns"],
  },
  prompts: {
    requires: [],
    relations: [
      "llm.label_prompt",
      "llm.prompt_labels",
      "llm.prompt_shares",
      "llm.prompt_versions",
      "llm.prompts",
      "llm.prompts_usage_count",
      "llm.render_prompt",
      "llm.use_prompt",
      "llm.user_prompts",
    ],
    plugins: [],
    jobs: ["delete-old-prompt-use-keys"],
  },
  memory: {
    requires: [],
    relations: ["llm.conversation_memories", "llm.memories"],
    plugins: ["PlinthConversationMemoryPlugin", "PlinthMemoriesPlugin"],
    jobs: ["delete-expired-memories", "embed-memories"],
  },
  rooms: {
    requires: [],
    relations: ["rooms"],
    plugins: [
      "PlinthRoomAnswerPlugin",
      "PlinthRoomEventsPlugin",
      "PlinthPresencePlugin",
      "PlinthUnreadCountsPlugin",
      "PlinthRoomPasswordsPlugin",
    ],
    jobs: ["delete-expired-presence"],
  },
  learning: {
    requires: [],
    relations: ["learning"],
    plugins: [],
    jobs: ["refresh-content-popularity", "record-due-completions", "delete-old-heartbeats"],
  },
  casbin: {
    requires: [],
    relations: [
      "access.casbin_changes",
      "access.casbin_models",
      "access.casbin_rules",
      "access.casbin_versions",
      "access.enforce",
      "access.enforce_many",
      "access.replace_casbin_policy",
      "access.restore_casbin_version",
    ],
    plugins: [],
    jobs: [],
  },
};

export const MODULE_NAMES = Object.keys(MODULES) as readonly ModuleName[];

/**
 * Returns the modules that are left out.
 * @param chosen the names of the modules to use; undefined for all
 * @throws PlinthError INVALID_SETTING for an unknown name, and for a module whose requirement is not chosen
 */
export function leftOutModules(chosen: readonly string[] | undefined): ReadonlySet<ModuleName> {
  if (!chosen) return new Set();
  for (const name of chosen) {
    if (!Object.hasOwn(MODULES, name))
      throw new PlinthError("INVALID_SETTING", `There is no module ${JSON.stringify(name)}.`, {
        hint: `The modules are ${MODULE_NAMES.join(", ")}.`,
      });
    const missing = MODULES[name as ModuleName].requires.find((required) => !chosen.includes(required));
    if (missing)
      throw new PlinthError("INVALID_SETTING", `The module ${name} requires the module ${missing}.`, {
        hint: `Add ${missing} to the modules, or remove ${name}.`,
      });
  }
  return new Set(MODULE_NAMES.filter((name) => !chosen.includes(name)));
}

/** Returns the module of a table, view or function of the API; undefined for the core. */
export function moduleOfRelation(schema: string, name: string): ModuleName | undefined {
  const ownerOf = (relation: string) =>
    MODULE_NAMES.find((module) => MODULES[module].relations.includes(relation));
  return ownerOf(`${schema}.${name}`) ?? ownerOf(schema);
}

export function moduleOfPlugin(plugin: string): ModuleName | undefined {
  return MODULE_NAMES.find((module) => MODULES[module].plugins.includes(plugin));
}

export function moduleOfJob(job: string): ModuleName | undefined {
  return MODULE_NAMES.find((module) => MODULES[module].jobs.includes(job));
}

/** Returns those that belong to the core or to a module that is used. */
export function withoutModules<T>(
  leftOut: ReadonlySet<ModuleName>,
  items: readonly T[],
  moduleOf: (item: T) => ModuleName | undefined,
): T[] {
  return items.filter((item) => {
    const module = moduleOf(item);
    return module === undefined || !leftOut.has(module);
  });
}
