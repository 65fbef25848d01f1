import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { checkApplication } from "../../src/application/check-application.ts";
import { loadApplication } from "../../src/application/load-application.ts";
import { SHOP_CONFIG, shop } from "../support/application/shop.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "plinth-test-application-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

/** Writes a file below a folder of its own and loads it. */
async function load(name: string, text: string) {
  const own = await mkdtemp(join(folder, "app-"));
  await mkdir(join(own, "migrations"));
  await writeFile(join(own, name), text);
  return { own, application: await loadApplication({ configFile: undefined }, own) };
}

test("a folder without plinth.config has an application without parts", async () => {
  expect(await loadApplication({ configFile: undefined }, folder)).toEqual({});
});

test.each(["plinth.config.ts", "plinth.config.js", "plinth.config.mjs"])(
  "%s is loaded from the working directory; its paths begin at the file",
  async (name) => {
    const { own, application } = await load(name, 'export default { migrations: "./migrations" };');
    expect(application).toEqual({ migrations: join(own, "migrations") });
  },
);

test("PLINTH_CONFIG names another file", async () => {
  expect(await loadApplication({ configFile: SHOP_CONFIG }, folder)).toEqual(shop);
  await expect(loadApplication({ configFile: join(folder, "none.ts") })).rejects.toMatchObject({
    code: "CONFIG_MISSING",
    message: `The file ${join(folder, "none.ts")} does not exist.`,
  });
});

test("a file that fails, or exports no default, is reported", async () => {
  await expect(load("plinth.config.mjs", 'throw new Error("No luck.");')).rejects.toMatchObject({
    code: "CONFIG_FAILED",
    message: "plinth.config.mjs cannot be loaded: No luck.",
  });
  await expect(load("plinth.config.mjs", "export const schemas = [];")).rejects.toMatchObject({
    code: "CONFIG_FAILED",
    message: "plinth.config.mjs has no default export.",
  });
});

const run = async () => ({});

test.each<[string, unknown, string]>([
  ["no object", [], "The application must be an object."],
  ["an unknown key", { schema: "shop" }, "The application has the unknown key schema."],
  ["schemas that are no list", { schemas: "shop" }, "The application's schemas must be a list."],
  ["a schema of Plinth", { schemas: ["llm"] }, "The schema llm is not the application's own."],
  [
    "the job queue's schema",
    { schemas: ["plinth_jobs"] },
    "The schema plinth_jobs is not the application's own.",
  ],
  [
    "the schema of its history",
    { schemas: ["plinth_app_migrate"] },
    "The schema plinth_app_migrate is not the application's own.",
  ],
  ["a schema of PostgreSQL", { schemas: ["pg_temp"] }, "The schema pg_temp belongs to PostgreSQL."],
  ["a schema without a name", { schemas: [""] }, "Each of the application's schemas must be a name."],
  ["a schema twice", { schemas: ["shop", "shop"] }, "The application's schemas contain shop twice."],
  [
    "a missing folder",
    { migrations: "./none" },
    "The folder of the application's migrations does not exist: /nowhere/none.",
  ],
  [
    "a plugin without a name",
    { plugins: [{}] },
    "Each of the application's plugins must be a PostGraphile plugin with a name.",
  ],
  [
    "a job of Plinth",
    { jobs: [{ name: "deliver-mail", run }] },
    "Plinth has a job named deliver-mail itself.",
  ],
  [
    "the dead letters",
    { jobs: [{ name: "dead-letter", run }] },
    "Plinth has a job named dead-letter itself.",
  ],
  [
    "a job with a wrong name",
    { jobs: [{ name: "My job", run }] },
    'A job of the application has the name "My job".',
  ],
  [
    "a job twice",
    {
      jobs: [
        { name: "a", run },
        { name: "a", run },
      ],
    },
    "The application's jobs contain a twice.",
  ],
  ["a job without a function", { jobs: [{ name: "a" }] }, "The job a has no function run."],
  [
    "a job with six fields",
    { jobs: [{ name: "a", cron: "* * * * * *", run }] },
    'The job a has the schedule "* * * * * *", which is not five cron fields.',
  ],
  [
    "a job at minute 61",
    { jobs: [{ name: "a", cron: "61 * * * *", run }] },
    'The job a has the schedule "61 * * * *", which is not five cron fields.',
  ],
])("an application with %s is rejected", (_what, application, message) => {
  expect(() => checkApplication(application, "/nowhere")).toThrow(
    expect.objectContaining({ code: "INVALID_APPLICATION", message, hint: expect.any(String) }),
  );
});

test("each part is optional, and an undefined one is left out", () => {
  expect(checkApplication({ schemas: undefined })).toEqual({});
});
