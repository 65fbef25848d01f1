import { randomUUID } from "node:crypto";
import { createAccessTokens } from "../../src/auth/access-token.ts";
import { parseSigningKeys } from "../../src/auth/signing-keys.ts";
import { SEED, withIds } from "./access-probes.ts";
import { SIGNING_KEYS } from "./api.ts";
import { withClient } from "./client.ts";
import type { TestDatabase } from "./database.ts";

/** visitor; ada or bob, who own one of everything; admin; or a user with one permission, called by its name. */
export interface Actor {
  readonly userId: string | null;
  readonly token: string | undefined;
}

/** Fills a database with one row of everything for Ada and Bob and returns its users, each signed in. */
export async function seedActors(db: TestDatabase): Promise<ReadonlyMap<string, Actor>> {
  const tokens = createAccessTokens({
    keys: parseSigningKeys(SIGNING_KEYS),
    issuer: "plinth",
    audience: "plinth",
    ttlSeconds: 3_600,
  });
  return withClient(db.url("owner"), async (client) => {
    await client.query(withIds(SEED));
    await client.query(
      withIds(`insert into identity.users (id, username) values (:new, 'admin');
        insert into access.user_roles (user_id, role_id) select :new, id from access.roles where role_name = 'admin';
        update identity.users set email = username || '@example.org' where username in ('ada', 'bob')`),
    );
    const { rows } = await client.query<{ name: string; id: string; version: number }>(
      "select username as name, id, token_version as version from identity.users",
    );
    const actors = new Map<string, Actor>([["visitor", { userId: null, token: undefined }]]);
    for (const { name, id, version } of rows)
      actors.set(name, {
        userId: id,
        token: tokens.sign({ userId: id, sessionId: randomUUID(), tokenVersion: version }).token,
      });
    return actors;
  });
}
