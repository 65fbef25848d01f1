import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { pino } from "pino";
import { makeSchema } from "postgraphile";
import {
  buildClientSchema,
  type GraphQLSchema,
  getIntrospectionQuery,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isObjectType,
} from "postgraphile/graphql";
import { PLUGINS } from "../../plugins/index.ts";
import {
  leftOutModules,
  MODULE_NAMES,
  MODULES,
  type ModuleName,
  moduleOfJob,
  moduleOfPlugin,
  moduleOfRelation,
} from "../../src/application/modules.ts";
import { loadConfig } from "../../src/config/config.ts";
import type { LOGIN_ROLES } from "../../src/config/roles.ts";
import { API_SCHEMAS, makePreset } from "../../src/graphql/preset.ts";
import { TIMETABLE } from "../../src/jobs/index.ts";
import { createPool } from "../../src/request/pool.ts";
import { startJobs } from "../../src/start/jobs.ts";
import { signUp, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

// Modules that an application leaves out: each name of the API, plugin and job belongs to one module or to the core.

/** The names of a schema: `Type`, `Type.field`, `Type.field(argument)` and `Enum.VALUE`. */
function namesOf(schema: GraphQLSchema): Set<string> {
  const names = new Set<string>();
  for (const type of Object.values(schema.getTypeMap())) {
    names.add(type.name);
    if (isEnumType(type)) for (const { name } of type.getValues()) names.add(`${type.name}.${name}`);
    if (isInputObjectType(type))
      for (const name of Object.keys(type.getFields())) names.add(`${type.name}.${name}`);
    if (isObjectType(type) || isInterfaceType(type))
      for (const { name, args } of Object.values(type.getFields())) {
        names.add(`${type.name}.${name}`);
        for (const argument of args) names.add(`${type.name}.${name}(${argument.name})`);
      }
  }
  return names;
}

/** A module with all that it requires. */
const withRequirements = (name: ModuleName): ModuleName[] => [
  name,
  ...MODULES[name].requires.flatMap(withRequirements),
];

/** The modules that remain without `name`, which are all that do not require it. */
const modulesWithout = (name: ModuleName): ModuleName[] =>
  MODULE_NAMES.filter((each) => !withRequirements(each).includes(name));

const ROOTS = /^(Query|Mutation|Subscription)\.\w+$/;

interface Relation {
  readonly schema: string;
  readonly name: string;
  /** The type of a table or view, and the root field of a function, if the API has one. */
  readonly graphqlName: string;
}

let db: TestDatabase;
let relations: readonly Relation[];
let everything: ReadonlySet<string>;
const without = new Map<ModuleName, ReadonlySet<string>>();

beforeAll(async () => {
  db = await createTestDatabase();
  ({ relations, everything } = await readEverything());
});
afterAll(() => db.drop());

/** The complete schema, and the names that it gives to tables and functions. */
async function readEverything() {
  const patience = { PLINTH_STATEMENT_TIMEOUT_MS: "300000", PLINTH_POOL_CONNECTION_TIMEOUT_MS: "300000" };
  const config = { ...loadConfig(patience), rolePrefix: db.rolePrefix };
  const pool = createPool({
    url: db.url("authenticator"),
    applicationName: "plinth tests",
    max: 2,
    settings: config.pool,
    onError: () => {},
  });
  const found: Relation[] = [];
  const noting: GraphileConfig.Plugin = {
    name: "NotingPlugin",
    version: "0.0.0",
    schema: {
      hooks: {
        finalize(schema, { pgResources, inflection }) {
          for (const resource of Object.values(pgResources)) {
            const isFunction = Boolean(resource.parameters);
            const { schemaName = "", name = "" } =
              (isFunction ? resource : resource.codec).extensions?.pg ?? {};
            const field = () =>
              resource.isMutation
                ? `Mutation.${inflection.customMutationField({ resource: resource as never })}`
                : `Query.${inflection.customQueryField({ resource: resource as never })}`;
            found.push({
              schema: schemaName,
              name,
              graphqlName: isFunction ? field() : inflection.tableType(resource.codec),
            });
          }
          return schema;
        },
      },
    },
  };
  try {
    const preset = makePreset({ pool, config, logger: pino({ level: "silent" }) });
    const { schema } = await makeSchema({ extends: [preset], plugins: [noting] });
    return { relations: found, everything: namesOf(schema) };
  } finally {
    await pool.end();
  }
}

/** The modules that a name of the complete API disappears without. */
const missingWithout = (name: string): ModuleName[] =>
  MODULE_NAMES.filter((module) => !without.get(module)!.has(name));

describe.each(MODULE_NAMES)("without %s", (left) => {
  test("the API has no name of the module, and the rest works", async () => {
    const api = await startApi(db, {
      PLINTH_MODULES: modulesWithout(left).join(),
      PLINTH_LIMIT_DEPTH: "50",
      PLINTH_LIMIT_COST: "100000000",
    });
    try {
      const ada = await signUp(api, `ada_${left}`);
      const { data } = await api.ask("{ currentUser { username role } profiles { totalCount } }", ada);
      expect(data).toMatchObject({ currentUser: { username: `ada_${left}` } });
      const introspection = await api.ask(getIntrospectionQuery());
      const names = namesOf(buildClientSchema(introspection.data));
      without.set(left, names);
    } finally {
      await api.close();
    }
    const names = without.get(left)!;
    const types = relations
      .filter(({ schema, name }) => moduleOfRelation(schema, name) === left)
      .map(({ graphqlName }) => graphqlName);
    const others = relations
      .filter(({ schema, name }) => moduleOfRelation(schema, name) !== left)
      .map(({ graphqlName }) => graphqlName);
    expect(types.filter((name) => names.has(name))).toEqual([]);
    // ChatRoomFilter is a name of ChatRoom and not of Chat.
    const longestStart = (name: string) =>
      [...types, ...others].filter((type) => name.startsWith(type)).sort((a, b) => b.length - a.length)[0];
    const leaks = [...names].filter((name) => /^\w+$/.test(name) && types.includes(longestStart(name) ?? ""));
    expect(leaks).toEqual([]);
  });

  test("the worker has none of its jobs and drops their schedules", async () => {
    const scheduled = async () => {
      const { rows } = await withClient(db.url("owner"), (client) =>
        client.query("select name from plinth_jobs.schedule order by name"),
      );
      return rows.map(({ name }) => name as string);
    };
    const work = async (modules: readonly string[] | undefined) => {
      const worker = await startJobs(
        { ...loadConfig({}), rolePrefix: db.rolePrefix, modules },
        { kind: "external", url: (role: (typeof LOGIN_ROLES)[number]) => db.url(role) } as never,
        pino({ level: "silent" }),
      );
      await worker.close();
      return scheduled();
    };
    const all = TIMETABLE.map(({ name }) => name).sort();
    expect(await work(undefined)).toEqual(all);
    const remaining = modulesWithout(left);
    expect(await work(remaining)).toEqual(
      all.filter((name) => {
        const module = moduleOfJob(name);
        return module === undefined || remaining.includes(module);
      }),
    );
  });
});

test("each root field belongs to one module or to the core", () => {
  const roots = [...everything].filter((name) => ROOTS.test(name));
  expect(roots.length).toBeGreaterThan(300);
  const owners = MODULE_NAMES.map((name) => withRequirements(name).sort().join());
  const homeless = roots.filter((name) => {
    const missing = missingWithout(name).sort().join();
    return missing !== "" && !owners.includes(missing);
  });
  expect(homeless).toEqual([]);
});

test("each table, view and function of the API is missing exactly without its module", () => {
  const inApi = relations.filter(({ graphqlName }) => everything.has(graphqlName));
  expect(inApi.length).toBeGreaterThan(150);
  const faults = inApi.filter(({ schema, name, graphqlName }) => {
    const module = moduleOfRelation(schema, name);
    const expected = module ? withRequirements(module) : [];
    return missingWithout(graphqlName).sort().join() !== expected.sort().join();
  });
  expect(faults).toEqual([]);
});

test("names only what exists, and each once", async () => {
  const { rows } = await withClient(db.url("owner"), (client) =>
    client.query<{ name: string }>(
      `select nspname || '.' || relname as name from pg_class c join pg_namespace n on n.oid = relnamespace
       union select nspname || '.' || proname from pg_proc p join pg_namespace n on n.oid = pronamespace
       union select nspname from pg_namespace`,
    ),
  );
  const existing = new Set(rows.map(({ name }) => name));
  const named = MODULE_NAMES.flatMap((name) => MODULES[name].relations);
  expect(named.filter((name) => !existing.has(name))).toEqual([]);
  expect(named.filter((name) => !API_SCHEMAS.includes(name.split(".")[0] as never))).toEqual([]);

  const plugins = MODULE_NAMES.flatMap((name) => MODULES[name].plugins);
  expect(plugins.filter((name) => !PLUGINS.some((plugin) => plugin.name === name))).toEqual([]);
  const jobs = MODULE_NAMES.flatMap((name) => MODULES[name].jobs);
  expect(jobs.filter((name) => !TIMETABLE.some((job) => job.name === name))).toEqual([]);
  for (const list of [named, plugins, jobs]) expect(list.length).toBe(new Set(list).size);
});

// A new plugin or job of a module must not stay in the core by accident.
test("the core has these jobs and these plugins with fields of their own", () => {
  expect(
    TIMETABLE.map(({ name }) => name)
      .filter((name) => !moduleOfJob(name))
      .sort(),
  ).toEqual([
    "archive-old-partitions",
    "close-audit-blocks",
    "delete-due-accounts",
    "delete-expired-exports",
    "delete-expired-rate-limits",
    "delete-expired-sign-in-data",
    "delete-expired-verifications",
    "delete-old-api-tokens",
    "delete-old-emails",
    "delete-old-error-logs",
    "delete-old-server-logs",
    "deliver-mail",
    "detect-suspicious-activity",
    "end-expired-sessions",
    "ensure-partitions",
    "finish-erasures",
    "maintain-tables",
    "roll-up-days",
    "write-data-exports",
  ]);
  // extendSchema adds fields of its own in these hooks.
  const withFields = PLUGINS.filter(({ schema }) => schema?.hooks?.build && schema.hooks.init);
  const ofCore = withFields.map(({ name }) => name).filter((name) => !moduleOfPlugin(name));
  expect(ofCore.sort()).toEqual([
    "PlinthAccountRecoveryPlugin",
    "PlinthApiTokensPlugin",
    "PlinthAuthPlugin",
    "PlinthMfaPlugin",
    "PlinthProvidersPlugin",
  ]);
});

describe("a choice of modules", () => {
  test("leaves out what it does not name, and nothing by default", () => {
    expect(leftOutModules(undefined)).toEqual(new Set());
    expect(leftOutModules([])).toEqual(new Set(MODULE_NAMES));
    expect(leftOutModules(MODULE_NAMES.filter((name) => name !== "rooms"))).toEqual(new Set(["rooms"]));
  });

  test("rejects an unknown name", () => {
    expect(() => leftOutModules(["rooms", "shop"])).toThrow(
      expect.objectContaining({ code: "INVALID_SETTING", message: 'There is no module "shop".' }),
    );
  });

  test("rejects a module without the module that it requires", () => {
    expect(() => leftOutModules(["chats"])).toThrow(
      expect.objectContaining({
        code: "INVALID_SETTING",
        message: "The module chats requires the module billing.",
      }),
    );
  });
});
