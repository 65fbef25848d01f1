import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { connectModel } from "../../src/answerer/connect-model.ts";
import { parseMasterKeys } from "../../src/auth/master-keys.ts";
import { createSealer } from "../../src/auth/sealing.ts";
import { cli, databaseEnv, outcomeOf, startCli } from "../cli/run-cli.ts";
import { registerUser } from "../support/accounts.ts";
import { MASTER_KEYS } from "../support/api.ts";
import { connectAs } from "../support/chat.ts";
import { rowsAs, type TestDatabase, withClient } from "../support/database.ts";
import { startModelServer } from "../support/model-server.ts";
import { createAnswererDatabase, ended, giveTokens, modelAt, PATIENT, requestAnswer } from "./support.ts";

// Providers and their keys as an operator sets them up.

let db: TestDatabase;
const asOwner = rowsAs("owner", () => db);
beforeAll(async () => {
  db = await createAnswererDatabase();
});
afterAll(async () => {
  await db.drop();
});

const connect = (model: { provider: string; url: string; key?: string }) =>
  withClient(db.url("owner"), (client) =>
    connectModel(client, { key: undefined, name: "m", displayName: "M", ...model }, MASTER_KEYS),
  );

/** The public models with their provider's address and opened key. */
async function catalogue() {
  const sealer = createSealer(parseMasterKeys(MASTER_KEYS));
  const rows = await asOwner<Record<string, string>>(
    `select p.id, p.name, p.api_url, p.auth_type, p.is_active, m.name as model, k.sealed_key
     from llm.models m join llm.model_providers p on p.id = m.provider_id
     left join private.model_provider_keys k on k.provider_id = p.id
     where m.is_public order by p.name`,
  );
  return rows.map(({ id, sealed_key, ...row }) => ({
    ...row,
    key: sealed_key && sealer.unseal("model key", sealed_key, id).toString(),
  }));
}

test("the model of the environment replaces the demo's, and another start updates its address and key", async () => {
  await connect({ provider: "Demo", url: "http://127.0.0.1:1/v1" });
  const echo = { name: "Demo", api_url: "http://127.0.0.1:1/v1", auth_type: "none", model: "m", key: null };
  expect(await catalogue()).toEqual([{ ...echo, is_active: true }]);

  const model = { provider: "PLINTH_LLM_URL", url: "https://one.example/v1", key: "sk-1" };
  await connect(model);
  const connected = { name: model.provider, auth_type: "bearer", is_active: true, model: "m" };
  expect(await catalogue()).toEqual([
    { ...echo, is_active: false },
    { ...connected, api_url: model.url, key: "sk-1" },
  ]);
  await connect(model);
  await connect({ ...model, url: "https://two.example/v1", key: "sk-2" });
  expect((await catalogue())[1]).toEqual({ ...connected, api_url: "https://two.example/v1", key: "sk-2" });
  await connect({ provider: model.provider, url: "https://two.example/v1" });
  expect((await catalogue())[1]).toMatchObject({ auth_type: "none", key: null });
});

test("plinth provider set-key reads the key from stdin, and delete-key deletes it", async () => {
  await connect({ provider: "by hand", url: "https://three.example/v1" });
  const env = { ...databaseEnv(db), PLINTH_MASTER_KEYS: MASTER_KEYS };
  const keyOf = async () => (await catalogue()).find((row) => "name" in row && row.name === "by hand")!.key;
  const set = await cli(["provider", "set-key", "by hand"], { env, stdin: "sk-by-hand\n" });
  expect(set).toMatchObject({ code: 0, stdout: "" });
  expect(set.stderr).not.toContain("sk-by-hand");
  expect(await keyOf()).toBe("sk-by-hand");
  for (const [name, stdin] of [
    ["by hand", ""],
    ["by hand", "two words\n"],
    ["unknown", "sk-1\n"],
  ] as const) {
    const failed = await cli(["provider", "set-key", name], { env, stdin });
    expect(failed.code).toBe(1);
    expect(failed.stderr).toMatch(/^error: /m);
  }
  expect(await keyOf()).toBe("sk-by-hand");
  expect(await cli(["provider", "delete-key", "by hand"], { env })).toMatchObject({ code: 0 });
  expect(await keyOf()).toBeNull();
});

test("plinth answer writes requested answers, with only the service's URL and the master keys", async () => {
  await using stack = new AsyncDisposableStack();
  const provider = await startModelServer();
  stack.defer(() => provider.close());
  const model = await modelAt(db, provider.url, "sk-by-hand");
  const userId = await registerUser(db, "ada");
  await giveTokens(db, userId);
  const ada = await connectAs(db, userId);
  stack.defer(() => ada.end());
  const child = startCli(["answer"], {
    ...PATIENT,
    PLINTH_SERVICE_URL: db.url("service"),
    PLINTH_MASTER_KEYS: MASTER_KEYS,
    PLINTH_ROLE_PREFIX: db.rolePrefix,
    PLINTH_LLM_PRIVATE_ADDRESSES: "127.0.0.1",
  });
  const outcome = outcomeOf(child);
  stack.defer(() => void child.kill("SIGKILL"));
  await new Promise((resolve) => child.stderr!.once("data", resolve));
  const { id } = await requestAnswer(ada, model);
  expect(await ended(ada, id)).toMatchObject({ state: "complete", content: "ok" });
  expect(provider.calls[0]!.headers.authorization).toBe("Bearer sk-by-hand");
  child.kill("SIGTERM");
  expect((await outcome).code).toBe(0);
});
