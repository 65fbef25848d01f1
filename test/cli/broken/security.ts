import { generateMasterKey, parseMasterKeys } from "../../../src/auth/master-keys.ts";
import { createSealer } from "../../../src/auth/sealing.ts";
import type { CheckGroup } from "../../../src/cli/doctor/check.ts";
import { checkSealedSecrets } from "../../../src/cli/doctor/sealed-secrets.ts";
import { checkSecurityRules } from "../../../src/cli/doctor/security-rules.ts";
import { checkSettings } from "../../../src/cli/doctor/settings.ts";
import { checkUserData } from "../../../src/cli/doctor/user-data.ts";
import type { Broken } from "./installation.ts";

const KEYS = { one: generateMasterKey(1), other: generateMasterKey(1), two: generateMasterKey(2) };

const inSettings =
  (unknown: readonly string[] = []): CheckGroup =>
  async ({ config }) =>
    checkSettings(config, unknown);
const sealedBy = (key: string) =>
  `insert into private.lookup_keys (name, sealed_key)
   values ('email', '${createSealer(parseMasterKeys(key)).seal("lookup key", "x", "email")}')`;

/** Keys, rules and settings. */
export const brokenSecurity: readonly Broken[] = [
  {
    title: "a master key that is missing",
    group: checkSealedSecrets,
    check: "sealed-secrets",
    env: () => ({ PLINTH_MASTER_KEYS: KEYS.two }),
    sql: () => sealedBy(KEYS.one),
    says: /master keys that are not set/,
  },
  {
    title: "a wrong master key",
    group: checkSealedSecrets,
    check: "sealed-secrets",
    env: () => ({ PLINTH_MASTER_KEYS: KEYS.other }),
    sql: () => sealedBy(KEYS.one),
    says: /another key under this version/,
  },
  {
    title: "secrets under an old master key",
    group: checkSealedSecrets,
    check: "sealed-secrets",
    status: "warn",
    env: () => ({ PLINTH_MASTER_KEYS: `${KEYS.one},${KEYS.two}` }),
    sql: () => sealedBy(KEYS.one),
    says: /keys rotate/,
  },
  {
    title: "a rate limit that is off",
    group: checkSecurityRules,
    check: "rate-limit-rules",
    status: "warn",
    sql: "update security.rate_limit_rules set is_enabled = false where rule_name = 'login_per_address'",
    says: /login_per_address: switched off/,
  },
  {
    title: "a rule for suspicious activity that is off",
    group: checkSecurityRules,
    check: "suspicious-activity-rules",
    status: "warn",
    sql: "update security.suspicious_activity_rules set is_enabled = false where rule_name = 'token_reuse'",
    says: /token_reuse: switched off/,
  },
  {
    title: "a table that blocks deletions of accounts",
    group: checkUserData,
    check: "account-deletion",
    sql: "create schema shop authorization :PLINTH_OWNER; create table shop.orders (user_id uuid references identity.users (id))",
    says: /shop\.orders/,
  },
  {
    title: "a weak signing key",
    group: inSettings(),
    check: "signing-keys",
    env: () => ({ PLINTH_JWT_KEYS: "k1:c2hvcnQ" }),
    says: /PLINTH_JWT_KEYS/,
  },
  {
    title: "a weak master key",
    group: inSettings(),
    check: "master-keys",
    env: () => ({ PLINTH_MASTER_KEYS: "1:c2hvcnQ" }),
    says: /PLINTH_MASTER_KEYS/,
  },
  {
    title: "a setting that is misspelled",
    group: inSettings(["PLINTH_PROT"]),
    check: "unknown-setting",
    status: "warn",
    says: /PLINTH_PROT is set but is not a setting/,
  },
  {
    title: "an API that any website may call",
    group: inSettings(),
    check: "cors",
    status: "warn",
    env: () => ({ PLINTH_CORS_ORIGINS: "*" }),
    says: /PLINTH_CORS_ORIGINS/,
  },
];
