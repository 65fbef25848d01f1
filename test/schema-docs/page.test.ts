import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { ALIASES } from "../../src/schema-docs/aliases.ts";
import { DOMAINS } from "../../src/schema-docs/domains.ts";
import type { PageData } from "../../src/schema-docs/page-data.ts";
import { schemaPage } from "../../src/schema-docs/page-html.ts";
import { readPageData } from "../../src/schema-docs/read-page-data.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { pageDataOf, SCHEMA_PAGE } from "../support/schema-page.ts";

// The schema as one page. test/browser/schema-page-in-chromium.ts opens it.

const OURS = [...DOMAINS.keys()];

let db: TestDatabase;
let data: PageData;
let html: string;
beforeAll(async () => {
  db = await createTestDatabase();
  data = await withClient(db.url("owner"), (client) =>
    readPageData(client, { title: "Plinth", domains: DOMAINS, rolePrefix: db.rolePrefix }),
  );
  html = await schemaPage(data);
});
afterAll(() => db.drop());

const counted = (sql: string) =>
  withClient(db.url("owner"), async (client) => Number((await client.query(sql, [OURS])).rows[0].count));
const relation = (name: string) => data.relations.find((each) => `${each.schema}.${each.name}` === name)!;
const sum = (parts: keyof PageData["relations"][number]) =>
  data.relations.reduce((count, each) => count + ((each[parts] as readonly unknown[]) ?? []).length, 0);

describe("the data", () => {
  test("has every table, view, column, policy, trigger, foreign key and function of the catalogue", async () => {
    const from = (catalogue: string, relation: string) => `
      select count(*) from ${catalogue} x join pg_class c on c.oid = ${relation} and not c.relispartition
      join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = any ($1) and c.relkind in ('r', 'p', 'v', 'm')`;
    expect(data.relations.length).toBe(await counted(from("pg_class", "x.oid")));
    expect(sum("columns")).toBe(
      await counted(`${from("pg_attribute", "x.attrelid")} and x.attnum > 0 and not x.attisdropped`),
    );
    expect(sum("policies")).toBe(await counted(from("pg_policy", "x.polrelid")));
    expect(sum("triggers")).toBe(await counted(`${from("pg_trigger", "x.tgrelid")} and not x.tgisinternal`));
    expect(sum("references")).toBe(
      await counted(`${from("pg_constraint", "x.conrelid")} and x.contype = 'f' and x.conparentid = 0`),
    );
    expect(data.functions.length).toBe(
      await counted(`
        select count(*) from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = any ($1)
          and not exists (select from pg_depend d where d.objid = p.oid and d.deptype in ('e', 'i'))`),
    );
  });

  test("says who may do what: grants by role, and policies in the words of their comments", () => {
    const { grants, policies, hasRowSecurity } = relation("rooms.chat_rooms");
    expect(grants).toEqual({
      user: { select: "*", update: expect.arrayContaining(["name", "description"]), delete: "*" },
    });
    expect(hasRowSecurity).toBe(true);
    expect(policies![0]).toEqual({
      name: "select_visible",
      command: "select",
      roles: ["user"],
      comment: "Users see their rooms, public ones, and those they are invited to.",
      using: expect.stringContaining("rooms.my_room_ids()"),
    });
    const viewer = data.functions.find(({ schema, name }) => schema === "identity" && name === "viewer");
    expect(viewer).toMatchObject({
      callers: ["anonymous", "user"],
      comment: "Returns the signed-in account, or null.",
    });
  });

  test("has comments without the tags of the API, and the queries of views", () => {
    const comments = [
      ...data.relations,
      ...data.relations.flatMap(({ columns }) => columns),
      ...data.functions,
    ];
    expect(comments.filter(({ comment }) => /^@/m.test(comment))).toEqual([]);
    expect(data.relations.filter(({ comment }) => comment === "")).toEqual([]);
    const views = data.relations.filter(({ kind }) => kind !== "table");
    expect(views.filter(({ query }) => !/^\s*(select|with)\b/.test(query ?? ""))).toEqual([]);
  });

  test("has the class of personal data of each column that has one", async () => {
    const { rows } = await withClient(db.url("owner"), (client) =>
      client.query<{ name: string }>(`
        select concat_ws('.', schema_name, table_name, column_name) || ': ' || class as name from security.personal_data`),
    );
    const found = data.relations.flatMap(({ schema, name, columns }) =>
      columns
        .filter(({ personalData }) => personalData)
        .map((column) => `${schema}.${name}.${column.name}: ${column.personalData}`),
    );
    expect(found).toContain("identity.users.email: contact");
    expect(found.toSorted()).toEqual(rows.map(({ name }) => name).sort());
  });

  test("knows the names of all five systems, and each leads to something that exists", () => {
    expect(data.aliases).toEqual(ALIASES);
    expect(new Set(ALIASES.map(({ system }) => system)).size).toBe(5);
    const leads = (name: string) => ALIASES.filter((each) => each.name === name).map(({ to }) => to);
    expect(leads("sessions")).toContain("identity.user_sessions");
    expect(leads("audit_logs")).toEqual(["security.security_audit_log"]);
  });
});

describe("the page", () => {
  test("is up to date, also where another version of PostgreSQL or other names of roles are used", () => {
    expect(data).toEqual(pageDataOf());
    expect(html).toBe(readFileSync(SCHEMA_PAGE, "utf8"));
  });

  test("is one file below 1.5 MB that loads nothing", () => {
    expect(html.length).toBeLessThan(1_500_000);
    const own = html.replace(/<script type="application\/json".*?<\/script>/s, "");
    expect(own).not.toMatch(
      /\b(src|srcset|action)=|<link|<iframe|@import|url\(|\bfetch\(|XMLHttpRequest|\simport /,
    );
    expect([...own.matchAll(/\bhref="([^"]*)"/g)].filter(([, target]) => !target!.startsWith("#"))).toEqual(
      [],
    );
  });

  test("allows its own style and script only", () => {
    const hash = (text: string) => createHash("sha256").update(text).digest("base64");
    const [, style] = /<style>(.*?)<\/style>/s.exec(html)!;
    const [, script] = /<script type="module">(.*?)<\/script>/s.exec(html)!;
    const [, policy] = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(html)!;
    expect(policy!.split(";")).toEqual([
      "default-src 'none'",
      `script-src 'sha256-${hash(script!)}'`,
      `style-src 'sha256-${hash(style!)}'`,
      "base-uri 'none'",
      "form-action 'none'",
      "require-trusted-types-for 'script'",
      "trusted-types 'none'",
    ]);
    expect(html).not.toMatch(/ (style|on\w+)="/);
  });
});
