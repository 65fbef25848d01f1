import type { MigrationOptions } from "../migration-session.ts";

export interface CompatOptions extends MigrationOptions {
  /** Password of the application's role, for servers whose passwords Plinth generates. */
  readonly applicationPassword?: string | undefined;
  /** URL of a superuser, if the owner may not create roles. */
  readonly adminUrl?: string | undefined;
  /** Rolls back, so that only the report remains. */
  readonly isPlan?: boolean | undefined;
}
