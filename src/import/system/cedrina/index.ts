import { parseMasterKeys } from "../../../auth/master-keys.ts";
import { createSealer, type Sealer } from "../../../auth/sealing.ts";
import type { SystemMapping } from "../mapping.ts";
import { auditLogs } from "./audit-logs.ts";
import { casbinRules } from "./casbin-rules.ts";
import { oauthProfilesStep } from "./oauth-profiles.ts";
import { rateLimitRecords } from "./rate-limit-records.ts";
import { sessions } from "./sessions.ts";
import { users } from "./users.ts";

/** Six of the seven tables. Without a sealer, the tokens of providers do not come along. */
export const cedrinaWith = (sealer: Sealer | undefined): SystemMapping => ({
  system: "cedrina",
  title: "Cedrina",
  steps: [users, oauthProfilesStep(sealer), sessions, casbinRules, auditLogs, rateLimitRecords],
  leaves: {
    password_reset_tokens: "links to reset a password are not imported: users request a new one",
  },
});

export const cedrina: SystemMapping = {
  ...cedrinaWith(undefined),
  forRun: async ({ masterKeys }) =>
    cedrinaWith(masterKeys === undefined ? undefined : createSealer(parseMasterKeys(masterKeys))),
};
