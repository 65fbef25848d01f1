import { compatSystems } from "../../src/database/compat/systems.ts";

/** Exceptions of the walk over compatibility schemas, by name and with their reason. */
interface Exceptions {
  /** Views that show a user rows of others, as the API does. */
  readonly shared?: Readonly<Record<string, string>>;
  /** Those of them with rows of others that a user may write, as in the API. */
  readonly managed?: Readonly<Record<string, string>>;
  /** Columns of views that show analysts words of the product instead of people's. */
  readonly words?: Readonly<Record<string, string>>;
  /** Columns of tables that only look like secrets. */
  readonly notSecret?: Readonly<Record<string, string>>;
  /** Functions with the owner's rights that other callers than the application may call. */
  readonly functions?: Readonly<Record<string, string>>;
}

const BY_SYSTEM: Readonly<Record<string, Exceptions>> = {
  ai_training: {
    words: {
      "active_user_subscriptions.plan_name": "administrators name plans",
      "audit_trail.table_name": "names a table",
      "content_categories.description": "editors write it",
      "content_categories.name": "editors write it",
      "content_categories.slug": "editors write it",
      "content_items.description": "editors write it",
      "content_items.slug": "editors write it",
      "content_items.tags": "editors write them",
      "content_items.title": "editors write it",
      "payments.provider": "names a company",
      "roles.description": "administrators describe roles",
      "roles.name": "administrators name roles",
      "security_audit_log.event_type": "names a kind of event",
      "subscription_plans.name": "administrators name plans",
    },
    functions: {
      "content_access(uuid,uuid)": "asks whose login and claims they are: as a user, for no one else",
      "read_content_popularity()": "returns nothing to users",
      "read_subscription_metrics()": "returns nothing to users",
      "major_units(numeric,text)": "computes from its arguments",
    },
  },
  cedrina: {
    words: {
      "audit_logs.event_type": "Plinth and the application name types of events",
      "audit_logs.source": "names a database role",
      "oauth_profiles.provider": "operators name providers",
    },
  },
  headphone: {
    words: {
      "roles.role_name": "administrators name roles",
      "permissions.permission_name": "policies name permissions",
    },
    notSecret: { "private.user_passwords.hash_algorithm": "names the algorithm of a hash" },
  },
  rovertchat: {
    words: Object.fromEntries([
      ...["ModelProviders", "model_providers", "modelproviders"].map((view) => [
        `${view}.name`,
        "administrators name providers",
      ]),
      ...["Models", "models"].flatMap((view) =>
        ["name", "display_name", "description"].map((column) => [
          `${view}.${column}`,
          "administrators describe models",
        ]),
      ),
    ]),
    notSecret: {
      "llm.model_providers.api_url": "an address, which the API shows too; keys are in the schema private",
      "llm.models.config": "settings of a model, which the API shows too",
    },
  },
  socializer: {
    shared: {
      room_members: "members of a room see each other",
      users: "the document joins the names of senders and inviters, which the API shows in profiles",
    },
    managed: { room_members: "moderators manage members" },
    words: {
      "error_logs.error_type": "programs name errors",
      "skills.skill_name": "managers name skills",
      "user_preferences.preference_type": "the application names groups of preferences",
      "users.llm_model": "providers name models",
      "users.llm_provider": "providers name themselves",
    },
    functions: { "acquaintances()": "names that the API shows in profiles; it returns none to an analyst" },
  },
};

/** The names of a kind of all systems that exist, with their schema. */
function namesOf(kind: Exclude<keyof Exceptions, "notSecret">): string[] {
  return compatSystems()
    .flatMap((system) =>
      Object.keys(BY_SYSTEM[system]?.[kind] ?? {}).map((name) => `compat_${system}.${name}`),
    )
    .sort();
}

export const SHARED = namesOf("shared");
export const MANAGED = namesOf("managed");
export const WORDS_OF_THE_PRODUCT = namesOf("words");
export const HARMLESS_FUNCTIONS = [
  ...namesOf("functions"),
  // A number tells nothing about its row.
  "compat.number_of(text,text,uuid)",
  "compat.row_id(text,text,bigint)",
].sort();
export const NOT_SECRET = [
  ...new Set(compatSystems().flatMap((system) => Object.keys(BY_SYSTEM[system]?.notSecret ?? {}))),
].sort();
