import type { ChosenEmail } from "./addresses.ts";
import type { StoredPassword } from "./password.ts";
import type { ChosenName } from "./usernames.ts";

/** Data that the accounts of a batch need besides their rows, by key. */
export interface Prepared {
  readonly names: ReadonlyMap<string, ChosenName>;
  readonly emails: ReadonlyMap<string, ChosenEmail>;
  /** Keys of accounts whose number is another account's. */
  readonly phones: ReadonlySet<string>;
  /** Undefined for a hash that sign-in could not verify. Empty for an account whose password here is not compared. */
  readonly passwords: ReadonlyMap<string, StoredPassword | Record<string, never> | undefined>;
  /** Ids of all roles here, by name. */
  readonly roles: ReadonlyMap<string, string>;
  readonly privacyMode: boolean;
}
