import type { SystemMapping } from "../mapping.ts";
import { preferences, users } from "./accounts.ts";
import { subscriptions, usageTracking } from "./billing.ts";
import { prompts, userPrompts } from "./prompts.ts";
import { permissions, rolePermissions, roles, userRoles } from "./roles.ts";

export const headphone: SystemMapping = {
  system: "headphone",
  title: "Headphone Mode",
  steps: [
    users,
    preferences,
    roles,
    permissions,
    rolePermissions,
    userRoles,
    // Before usage, which is charged to the tokens of the plan.
    subscriptions,
    usageTracking,
    prompts,
    userPrompts,
  ],
  leaves: {
    sessions: "sessions are not imported: users sign in again",
  },
};
