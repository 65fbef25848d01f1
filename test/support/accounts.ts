import { randomBytes, randomUUID } from "node:crypto";
import { withClient } from "./client.ts";
import type { TestDatabase } from "./database.ts";

/** A well-formed argon2id hash of no particular password, for accounts that never sign in through HTTP. */
export const SOME_HASH =
  "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo";

/** Creates an account as the API's service does; returns its id. */
export async function registerUser(db: TestDatabase, username: string): Promise<string> {
  return withClient(db.url("service"), async (client) => {
    const { rows } = await client.query<{ id: string }>(
      "select private.register_user($1, $2, null, $3, 'argon2id') as id",
      [username, `${username}@example.com`, SOME_HASH],
    );
    return rows[0]!.id;
  });
}

/** Grants a role as the owner does, without an administrator. */
export async function grantRole(db: TestDatabase, userId: string, roleName: string): Promise<void> {
  await withClient(db.url("owner"), (client) =>
    client.query("select access.grant_role($1, $2)", [userId, roleName]),
  );
}

/** Creates a model with a provider of its own; returns its id. */
export async function addModel(
  db: TestDatabase,
  options: { isPublic: boolean; isActive?: boolean },
): Promise<string> {
  return withClient(db.url("owner"), async (client) => {
    const { rows } = await client.query<{ id: string }>(
      `with p as (insert into llm.model_providers (name) values ($1) returning id)
       insert into llm.models (provider_id, name, display_name, is_public, is_active)
       select id, 'model', 'Model', $2, $3 from p returning id`,
      [randomUUID(), options.isPublic, options.isActive ?? true],
    );
    return rows[0]!.id;
  });
}

/** 32 bytes that stand for the SHA-256 of a token. */
export const someHash = (): Buffer => randomBytes(32);
