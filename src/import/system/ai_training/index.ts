import type { SystemMapping } from "../mapping.ts";
import { auditTrail, loginAttempts, securityEvents } from "./audit.ts";
import { categories, items, permissions } from "./content.ts";
import { analytics, consumption } from "./learning.ts";
import { changes, payments } from "./payments.ts";
import { plans, subscriptions } from "./subscriptions.ts";
import { SYSTEM } from "./system.ts";
import { passwordHistory, roles, securitySettings, userRoles, users } from "./users.ts";

/** The AI Training Content Access Platform. Its ids are UUIDs, which the rows keep. */
export const aiTraining: SystemMapping = {
  system: SYSTEM,
  title: "AI Training Content Access Platform",
  steps: [
    ...[users, roles, userRoles, passwordHistory, securitySettings],
    ...[plans, subscriptions, payments, changes],
    ...[categories, items, permissions, consumption, analytics],
    ...[loginAttempts, securityEvents, auditTrail],
  ],
  leaves: {
    user_verifications:
      "verified addresses and numbers are imported with their accounts; open links must be sent again",
    user_sessions: "sessions are not imported: users sign in again",
    api_tokens: "API tokens are not imported: users create new ones",
    refresh_tokens: "refresh tokens are not imported: users sign in again",
    "content_items.average_rating": "is computed from the ratings",
    "user_security_settings.two_factor_method": "second factors are set up again",
    "roles.description": "the role here keeps its own",
    "roles.created_at": "the role here keeps its own",
  },
};
