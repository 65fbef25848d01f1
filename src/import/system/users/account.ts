import type { ForeignPasswordHash } from "../../../auth/foreign-password-hash.ts";
import type { Columns, Loss, RowOf } from "../mapping.ts";

/** An account of another system, in Plinth's terms. An absent value has Plinth's default. */
export interface Account {
  /** The name as the other system shows it; the username is derived from it. */
  readonly name: string | null;
  readonly email?: string | null;
  readonly password?: ForeignPasswordHash | null;
  /** Shown to others; the name, if absent. */
  readonly displayName?: string | null;
  readonly avatarUrl?: string | null;
  readonly createdAt?: string | null;
  readonly updatedAt?: string | null;
  readonly lastLoginAt?: string | null;
  readonly passwordChangedAt?: string | null;
  readonly status?: "active" | "disabled" | "deleted";
  /** Time at which the address was verified; true if the time is unknown. */
  readonly emailVerified?: string | boolean | null;
  /** Names of roles besides `user`. A role that does not exist here is reported and not created, because it would allow nothing. */
  readonly roles?: readonly (string | null)[];
  readonly lockedUntil?: string | null;
  readonly failedLoginAttempts?: number | null;
  readonly tokenVersion?: number | null;
  readonly phoneNumber?: string | null;
  readonly phoneVerifiedAt?: string | null;
  readonly profileData?: unknown;
  readonly metadata?: unknown;
  readonly preferences?: unknown;
  readonly llm?: {
    readonly provider?: string | null;
    readonly endpoint?: string | null;
    readonly model?: string | null;
  };
  /** Further columns of the source that do not come along. */
  readonly losses?: readonly Loss[];
}

/** The users of a system: which columns they have, and the account that a row stands for. */
export interface AccountSource<C extends Columns> {
  readonly relation: string;
  readonly key: readonly (keyof C & string)[];
  readonly columns: C;
  readonly joins?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly keepsId?: boolean;
  readonly account: (row: RowOf<C>) => Account;
}
