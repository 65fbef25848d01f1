import { createAccessTokens } from "../../src/auth/access-token.ts";
import { parseSigningKeys } from "../../src/auth/signing-keys.ts";
import { withIds } from "./access-probes/ids.ts";
import { SEED } from "./access-probes/seed.ts";
import { SIGNING_KEYS } from "./api.ts";
import { withClient } from "./client.ts";
import type { TestDatabase } from "./test-database.ts";

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
        update identity.users set email = username || '@example.org' where username in ('ada', 'bob');
        insert into identity.user_sessions (user_id)
          select id from identity.users where id not in (select user_id from identity.user_sessions);
        update identity.user_sessions set ip_address = '127.0.0.1', last_activity_at = now() + interval '1 hour'`),
    );
    // A use is noted a minute after the last one, so none of these changes a session while a test compares rows.
    // Tokens that the database accepts, because the server asks it whenever its listener is late.
    const { rows } = await client.query<{ name: string; id: string; version: number; session: string }>(
      `select u.username as name, u.id, u.token_version as version, s.id as session
       from identity.users u join identity.user_sessions s on s.user_id = u.id`,
    );
    const actors = new Map<string, Actor>([["visitor", { userId: null, token: undefined }]]);
    for (const { name, id, version, session } of rows)
      actors.set(name, {
        userId: id,
        token: tokens.sign({ userId: id, sessionId: session, tokenVersion: version }).token,
      });
    return actors;
  });
}
