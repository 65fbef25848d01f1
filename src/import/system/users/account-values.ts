import { isObject } from "../../../support/is-object.ts";
import type { Loss, Mapped, Values } from "../mapping.ts";
import { ref } from "../references.ts";
import type { Account } from "./account.ts";
import type { Prepared } from "./prepared.ts";

const MAX_DISPLAY_NAME = 100;
const MAX_URL = 2048;
const PHONE = /^\+[1-9][0-9]{6,14}$/;

/** Returns the rows of an account: identity.users, its settings, its password and its role. */
export function accountValues(account: Account, prepared: Prepared, relation: string, key: string): Mapped {
  const losses: Loss[] = [...(account.losses ?? [])];
  const lose: Lose = (column, reason, detail) => {
    losses.push({ column, reason, ...(detail === undefined ? {} : { detail }) });
  };
  const { stored, chosen } = prepared.names.get(key)!;
  if (account.name !== chosen && !prepared.privacyMode)
    lose("username", "is not allowed or taken: the user signs in with another name", chosen);
  const createdAt = account.createdAt ?? undefined;
  const updatedAt = account.updatedAt ?? createdAt;
  const userId = ref(relation, key);
  const password = prepared.passwords.get(key);
  if (password === undefined)
    lose("password_hash", account.password?.hash ? "has a format that sign-in cannot verify" : "is missing");

  const user = {
    username: stored,
    ...addressOf(account, prepared, key, lose),
    ...phoneOf(account, prepared.phones.has(key), lose),
    account_status: account.status ?? "active",
    token_version: counted(account.tokenVersion, 1, "token_version", lose),
    failed_login_attempts: counted(account.failedLoginAttempts, 0, "failed_login_attempts", lose),
    locked_until: account.lockedUntil ?? null,
    last_login_at: account.lastLoginAt ?? null,
    password_changed_at: account.passwordChangedAt ?? createdAt ?? null,
    profile_data: objectOf(account.profileData, "profile_data", lose),
    metadata: objectOf(account.metadata, "metadata", lose),
    created_at: createdAt,
    updated_at: updatedAt,
  };
  const settings = {
    user_id: userId,
    display_name: displayNameOf(account, chosen, prepared.privacyMode, lose),
    avatar_url: urlOf(account.avatarUrl, "avatar_url", lose),
    preferences: objectOf(account.preferences, "preferences", lose),
    llm_provider: account.llm?.provider ?? undefined,
    llm_endpoint: urlOf(account.llm?.endpoint, "llm_endpoint", lose),
    llm_model: account.llm?.model ?? undefined,
    created_at: createdAt,
    updated_at: updatedAt,
  };
  const secret = password && {
    user_id: userId,
    password_hash: password.hash,
    hash_algorithm: password.algorithm,
    updated_at: user.password_changed_at ?? undefined,
  };
  const roles = { user_id: userId, role_ids: rolesOf(account, prepared, lose), granted_at: createdAt };
  return {
    values: [present(user), present(settings), secret ? present(secret) : null, present(roles)],
    losses,
  };
}

type Lose = (column: string, reason: string, detail?: string) => undefined;

/** Without the columns that keep their default. */
function present(values: Values): Values {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

function addressOf(account: Account, { emails }: Prepared, key: string, lose: Lose): Values {
  const email = emails.get(key);
  if (email && "problem" in email) lose("email", email.problem);
  if (!email || "problem" in email) return { email: null, hashed_email: null, email_verified_at: null };
  const { emailVerified } = account;
  const verifiedAt =
    emailVerified === true ? (account.createdAt ?? new Date(0).toISOString()) : emailVerified || null;
  return { email: email.stored.email, hashed_email: email.stored.hash, email_verified_at: verifiedAt };
}

/** Leaves room to count on: a column of 32 bits that is full would reject the next change. */
const MAX_COUNT = 1_000_000_000;

function counted(value: number | null | undefined, least: number, column: string, lose: Lose): number {
  const count = value ?? least;
  if (count >= least && count <= MAX_COUNT) return count;
  lose(column, `was limited to ${least} to ${MAX_COUNT}`);
  return Math.min(Math.max(count, least), MAX_COUNT);
}

/** Role names here are lower case: "Content Editor" is content_editor. */
export const nameOfRole = (name: string | null): string =>
  (name ?? "")
    .trim()
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "_");

function rolesOf({ roles = [] }: Account, prepared: Prepared, lose: Lose): string[] {
  const names = new Set(["user", ...roles.map(nameOfRole).filter(Boolean)]);
  return [...names].flatMap((name) => {
    const id = prepared.roles.get(name);
    if (id === undefined) lose("role", "does not exist here: create it, and grant it", name);
    return id ?? [];
  });
}

/** Only a verified number is stored. */
function phoneOf({ phoneNumber, phoneVerifiedAt }: Account, isShared: boolean, lose: Lose): Values {
  if (!phoneNumber) return {};
  if (isShared) {
    lose("phone_number", "is the number of another account");
    return {};
  }
  const isValid = PHONE.test(phoneNumber);
  if (isValid && phoneVerifiedAt) return { phone_number: phoneNumber, phone_verified_at: phoneVerifiedAt };
  lose("phone_number", isValid ? "is not verified" : "must have the form +4915112345678");
  return {};
}

function displayNameOf(
  account: Account,
  username: string,
  privacyMode: boolean,
  lose: Lose,
): string | undefined {
  // In privacy mode the name is hashed; as the name shown to others, it would be readable again.
  const wanted = account.displayName ?? (privacyMode || account.name === username ? null : account.name);
  if (!wanted) return undefined;
  const clean = wanted.replace(/\p{Cc}+/gu, " ").trim();
  const short = [...clean].slice(0, MAX_DISPLAY_NAME).join("").trim();
  if (short !== wanted) lose("display_name", "was shortened to 100 characters without control characters");
  return short || undefined;
}

function urlOf(url: string | null | undefined, column: string, lose: Lose): string | undefined {
  if (!url) return undefined;
  if (/^https?:\/\/\S+$/.test(url) && url.length <= MAX_URL) return url;
  return lose(column, "must be an http or https address");
}

function objectOf(value: unknown, column: string, lose: Lose): unknown {
  if (value === null || value === undefined) return undefined;
  return isObject(value) ? value : lose(column, "must be a JSON object");
}
