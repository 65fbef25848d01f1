import { CONSTRAINTS_AND_INDEXES } from "./constraints-and-indexes.ts";
import type { Fault } from "./fault.ts";
import { FUNCTIONS } from "./functions.ts";
import { GRANTS } from "./grants.ts";
import { OWNERS_ROLES_AND_SETTINGS } from "./owners-roles-and-settings.ts";
import { POLICIES } from "./policies.ts";
import { TABLES_AND_COLUMNS } from "./tables-and-columns.ts";
import { TRIGGERS } from "./triggers.ts";
import { VIEWS_AND_OTHER_OBJECTS } from "./views-and-other-objects.ts";

export const FAULTS: Readonly<Record<string, readonly Fault[]>> = {
  policies: POLICIES,
  grants: GRANTS,
  functions: FUNCTIONS,
  triggers: TRIGGERS,
  "constraints and indexes": CONSTRAINTS_AND_INDEXES,
  "tables and columns": TABLES_AND_COLUMNS,
  "views and other objects": VIEWS_AND_OTHER_OBJECTS,
  "owners, roles and settings": OWNERS_ROLES_AND_SETTINGS,
};
