import type pg from "pg";
import { parseMasterKeys } from "../auth/master-keys.ts";
import { createSealer } from "../auth/sealing.ts";

/** The provider of the local echo. */
export const DEMO_PROVIDER = "Demo";

/** A model that the start sets up: the operator's from the environment, or the local echo. */
export interface ConnectedModel {
  readonly provider: string;
  readonly url: string;
  readonly key: string | undefined;
  readonly name: string;
  readonly displayName: string;
}

/**
 * Creates or updates a provider with one public model. Its address may change with each start; its key is that of the
 * environment.
 * @param client connected as the owner
 */
export async function connectModel(
  client: pg.ClientBase,
  model: ConnectedModel,
  masterKeys: string,
): Promise<void> {
  const { provider, url, key, name, displayName } = model;
  await client.query(
    `insert into llm.model_providers as p (name, api_url, auth_type) values ($1, $2, $3)
     on conflict on constraint model_providers_name_key do update
     set api_url = excluded.api_url, auth_type = excluded.auth_type, is_active = true
     where (p.api_url, p.auth_type, p.is_active) is distinct from (excluded.api_url, excluded.auth_type, true)`,
    [provider, url, key === undefined ? "none" : "bearer"],
  );
  await client.query(
    `insert into llm.models (provider_id, name, display_name, is_public) select id, $2, $3, true from llm.model_providers where name = $1
     on conflict on constraint models_provider_id_name_key do nothing`,
    [provider, name, displayName],
  );
  await setProviderKey(client, provider, key, masterKeys);
  // The echo of an earlier start runs no longer.
  if (provider !== DEMO_PROVIDER)
    await client.query("update llm.model_providers set is_active = false where name = $1 and is_active", [
      DEMO_PROVIDER,
    ]);
}

/**
 * Stores the sealed key of a provider, or deletes it.
 * @param client connected as the owner
 * @returns whether the provider exists, by name or id
 */
export async function setProviderKey(
  client: pg.ClientBase,
  nameOrId: string,
  key: string | undefined,
  masterKeys: string,
): Promise<boolean> {
  const { rows } = await client.query<{ id: string }>(
    "select id from llm.model_providers where name = $1 or id::text = $1",
    [nameOrId],
  );
  const [provider] = rows;
  if (!provider) return false;
  if (key === undefined)
    await client.query("delete from private.model_provider_keys where provider_id = $1", [provider.id]);
  else
    await client.query(
      `insert into private.model_provider_keys (provider_id, sealed_key) values ($1, $2)
       on conflict on constraint model_provider_keys_pkey
       do update set sealed_key = excluded.sealed_key, updated_at = now()`,
      [provider.id, createSealer(parseMasterKeys(masterKeys)).seal("model key", key, provider.id)],
    );
  return true;
}
