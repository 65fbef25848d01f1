import { randomBytes } from "node:crypto";
import { afterAll, beforeEach, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { LOGIN_ROLES, type LoginRole, ROLES, roleName } from "../../src/config/roles.ts";
import { bootstrapSql, ensureRoles, runBootstrap } from "../../src/database/bootstrap.ts";
import { databaseUrl } from "../../src/database/scratch-database.ts";
import { expectSqlState, testSetup, withClient } from "../support/database.ts";

const { adminUrl, rolePrefix } = testSetup();
const PASSWORD = "påss word'1";

/** Databases and roles created by a test and dropped at the end: databases first, because they own privileges. */
const databases: string[] = [];
const roles: string[] = [];

let prefix: string;

beforeEach(() => {
  prefix = uniqueName();
  roles.push(...ROLES.map((role) => roleName(prefix, role)));
});

afterAll(async () => {
  await withClient(adminUrl, async (client) => {
    for (const name of databases) await client.query(`drop database if exists ${quote(name)} with (force)`);
    for (const name of roles) await client.query(`drop role if exists ${quote(name)}`);
  });
});

describe("bootstrapSql", () => {
  test("creates roles that can log in or not, and can do nothing else", async () => {
    const database = await createDatabase();
    await asAdmin(database, (client) => bootstrap(client));

    const { rows } = await asAdmin(database, (client) =>
      client.query(
        `select rolname as name, rolcanlogin as login, rolinherit as inherit,
           rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls as powerful
         from pg_roles where starts_with(rolname, $1) order by 1`,
        [`${prefix}_`],
      ),
    );
    expect(rows).toEqual([
      { name: `${prefix}_analyst`, login: true, inherit: true, powerful: false },
      { name: `${prefix}_anonymous`, login: false, inherit: true, powerful: false },
      { name: `${prefix}_authenticator`, login: true, inherit: false, powerful: false },
      { name: `${prefix}_owner`, login: true, inherit: true, powerful: false },
      { name: `${prefix}_service`, login: true, inherit: true, powerful: false },
      { name: `${prefix}_user`, login: false, inherit: true, powerful: false },
      { name: `${prefix}_worker`, login: true, inherit: true, powerful: false },
    ]);
  });

  test("gives the database to the owner and lets only the login roles connect", async () => {
    const database = await createDatabase();
    const stranger = await createRole("login");
    await asAdmin(database, (client) => bootstrap(client));

    for (const role of LOGIN_ROLES)
      await as(roleName(prefix, role), database, async (client) => {
        const { rows } = await client.query(
          "select has_database_privilege(current_database(), 'create') as create",
        );
        expect(rows).toEqual([{ create: role === "owner" }]);
      });
    await expectSqlState(
      as(stranger, database, async () => {}),
      "42501",
    );
  });

  test("lets the authenticator become only anonymous and user, and inherit from neither", async () => {
    const database = await createDatabase();
    await asAdmin(database, (client) => bootstrap(client));
    await as(roleName(prefix, "owner"), database, (client) =>
      client.query(`create schema s; create table s.t (); grant usage on schema s to ${quote(roleName(prefix, "user"))};
        grant select on s.t to ${quote(roleName(prefix, "user"))}`),
    );

    await as(roleName(prefix, "authenticator"), database, async (client) => {
      await expectSqlState(client.query("select from s.t"), "42501");
      await client.query(`set role ${quote(roleName(prefix, "user"))}`);
      await client.query("select from s.t");
      await client.query(`set role ${quote(roleName(prefix, "anonymous"))}`);
      for (const role of ["owner", "service", "worker", "analyst"] as const)
        await expectSqlState(client.query(`set role ${quote(roleName(prefix, role))}`), "42501");
    });
  });

  test("lets the owner become anonymous and user, to explain their access, and no other role", async () => {
    const database = await createDatabase();
    await asAdmin(database, (client) => bootstrap(client));

    await as(roleName(prefix, "owner"), database, async (client) => {
      for (const role of ["user", "anonymous"] as const)
        await client.query(`set role ${quote(roleName(prefix, role))}; reset role`);
      for (const role of ["authenticator", "service", "worker", "analyst"] as const)
        await expectSqlState(client.query(`set role ${quote(roleName(prefix, role))}`), "42501");
    });
  });

  test("lets people find tables without their schema's name, and changes nothing for programs", async () => {
    const database = await createDatabase();
    await asAdmin(database, (client) => bootstrap(client));

    const searchPath = async (role: LoginRole) =>
      as(roleName(prefix, role), database, async (client) => {
        const { rows } = await client.query<{ search_path: string }>("show search_path");
        return rows[0]!.search_path;
      });
    const everything = "plinth, identity, access, billing, llm, rooms, learning, security, analytics";
    expect(await searchPath("owner")).toContain(everything);
    expect(await searchPath("analyst")).toContain(everything);
    expect(await searchPath("authenticator")).toBe('"$user", public');
  });

  test("limits the analyst's statements and transactions, and keeps the limits that an administrator has set", async () => {
    const limits = async (role: LoginRole, database: string) =>
      as(roleName(prefix, role), database, async (client) => {
        const { rows } = await client.query(
          `select current_setting('statement_timeout') as statement,
             current_setting('idle_in_transaction_session_timeout') as idle`,
        );
        return rows[0];
      });
    const database = await createDatabase();
    await asAdmin(database, (client) => bootstrap(client));
    expect(await limits("analyst", database)).toEqual({ statement: "5min", idle: "10min" });
    expect(await limits("worker", database)).toEqual({ statement: "0", idle: "0" });

    const analyst = quote(roleName(prefix, "analyst"));
    await asAdmin(database, (client) =>
      client.query(
        `alter role ${analyst} in database ${quote(database)} set statement_timeout = 0;
         alter role ${analyst} set idle_in_transaction_session_timeout = '2h';
         alter role ${analyst} in database ${quote(database)} reset idle_in_transaction_session_timeout`,
      ),
    );
    await asAdmin(database, (client) => bootstrap(client));
    expect(await limits("analyst", database)).toEqual({ statement: "0", idle: "2h" });
  });

  test("writes nothing when run again", async () => {
    const database = await createDatabase();
    await asAdmin(database, (client) => bootstrap(client));
    const before = await asAdmin(database, versions);
    expect(before).toHaveLength(7 + 4 + 1 + 2);

    await asAdmin(database, (client) => client.query(bootstrapSql({ prefix, ownerIsCurrentUser: false })));

    expect(await asAdmin(database, versions)).toEqual(before);
  });

  test("repairs manual changes", async () => {
    const database = await createDatabase();
    await asAdmin(database, (client) => bootstrap(client));
    await asAdmin(database, (client) =>
      client.query(`alter role ${quote(roleName(prefix, "user"))} login createdb;
        alter role ${quote(roleName(prefix, "authenticator"))} inherit;
        revoke ${quote(roleName(prefix, "user"))} from ${quote(roleName(prefix, "authenticator"))};
        grant connect on database ${quote(database)} to public`),
    );

    await asAdmin(database, (client) => bootstrap(client));

    const { rows } = await asAdmin(database, (client) =>
      client.query(
        `select rolcanlogin or rolcreatedb as changed, has_database_privilege('public', current_database(), 'connect') as open,
           pg_has_role($2, $1, 'member') as member,
           (select rolinherit from pg_roles where rolname = $2) as inherits
         from pg_roles where rolname = $1`,
        [roleName(prefix, "user"), roleName(prefix, "authenticator")],
      ),
    );
    expect(rows).toEqual([{ changed: false, open: false, member: true, inherits: false }]);
  });

  test("can run several times at once, in one database and in two", async () => {
    const [one, two] = [await createDatabase(), await createDatabase()];

    await Promise.all(
      [one, one, one, two, two, two].map((database) => asAdmin(database, (client) => bootstrap(client))),
    );

    for (const database of [one, two])
      await as(roleName(prefix, "worker"), database, (client) => client.query("select 1"));
  });

  test("as a script for administrators creates everything but passwords, and says so", async () => {
    const database = await createDatabase();
    const script = bootstrapSql({ prefix, ownerIsCurrentUser: false });
    await asAdmin(database, (client) => client.query(script));

    expect(script).toContain(`-- ${"  "}\\password ${prefix}_owner`);
    expect(script).toContain(
      `-- ${"  "}set password_encryption = 'scram-sha-256';\n-- ${"  "}alter role ${prefix}_owner password '…';`,
    );
    await expect(as(roleName(prefix, "owner"), database, async () => {})).rejects.toMatchObject({
      code: "28P01",
    });
    await asAdmin(database, (client) => bootstrap(client));
    await as(roleName(prefix, "owner"), database, (client) => ensureRoles(client, prefix));
  });

  test("as a script for administrators names what it changes in the database, and keeps an owner's right to create roles", async () => {
    const owner = roleName(prefix, "owner");
    const script = bootstrapSql({ prefix, ownerIsCurrentUser: false });
    expect(script.slice(0, script.indexOf("begin;"))).toMatch(
      new RegExp(
        `the owner, which becomes ${owner}: .*CONNECT and TEMPORARY of PUBLIC, which are revoked`,
        "s",
      ),
    );
    const database = await createDatabase();
    await asAdmin(database, (client) =>
      client.query(`create role ${quote(owner)} login createrole createdb; ${script}`),
    );
    const { rows } = await asAdmin(database, (client) =>
      client.query("select rolcreaterole, rolcreatedb from pg_roles where rolname = $1", [owner]),
    );
    expect(rows).toEqual([{ rolcreaterole: true, rolcreatedb: false }]);
  });

  test("as a script for an owner of another name keeps the role and its database", async () => {
    const owner = await createRole("login createdb noinherit");
    const database = await createDatabase(owner);
    const script = bootstrapSql({ prefix, ownerIsCurrentUser: false, owner });
    const neighbour = await createRole("login");
    await asAdmin(database, async (client) => {
      await client.query(`create schema shop; grant usage on schema shop to ${quote(neighbour)}`);
      const warnings: unknown[] = [];
      client.on("notice", (notice) => warnings.push({ ...notice }));
      await client.query(script);
      // The second run revokes nothing.
      await client.query(script);
      expect(warnings).toMatchObject([
        {
          message: expect.stringContaining(`PUBLIC loses CONNECT on the database ${database}, `),
          hint: `To let them connect: grant connect on database ${database} to ${neighbour};`,
        },
      ]);
    });

    expect(script).toContain(`-- ${"  "}\\password ${owner}\n`);
    const { rows } = await asAdmin(database, (client) =>
      client.query(
        `select pg_get_userbyid(datdba) as owner, rolcreatedb and not rolinherit as kept, to_regrole($1) as other
         from pg_database
         join pg_roles on pg_roles.oid = datdba
         where datname = current_database()`,
        [roleName(prefix, "owner")],
      ),
    );
    expect(rows).toEqual([{ owner, kept: true, other: null }]);
    // It may not create roles, and needs none.
    await as(owner, database, (client) => ensureRoles(client, prefix));
  });

  test("sends no password in clear text", () => {
    const sql = bootstrapSql({ prefix, ownerIsCurrentUser: false, passwords: { owner: "in the clear" } });
    expect(sql).not.toContain("in the clear");
    expect(sql).toMatch(/alter role "\w+_owner" password 'SCRAM-SHA-256\$/);
  });
});

describe("ensureRoles", () => {
  test("needs only a role that owns the database and may create roles", async () => {
    const owner = await createRole("login createrole");
    const database = await createDatabase(owner);
    const passwords = { authenticator: "first", service: PASSWORD };

    await as(owner, database, (client) => ensureRoles(client, prefix, passwords));
    await as(owner, database, (client) =>
      ensureRoles(client, prefix, { ...passwords, authenticator: PASSWORD }),
    );

    for (const role of ["authenticator", "service"] as const)
      await as(roleName(prefix, role), database, (client) => client.query("select 1"));
    const { rows } = await asAdmin(database, (client) =>
      client.query("select from pg_roles where rolname = $1", [roleName(prefix, "owner")]),
    );
    expect(rows).toHaveLength(0);
  });

  test("names the script to an owner who may not create missing roles", async () => {
    const owner = await createRole("login");
    const database = await createDatabase(owner);

    await expect(as(owner, database, (client) => ensureRoles(client, prefix))).rejects.toMatchObject({
      code: "ROLES_MISSING",
      hint: expect.stringContaining("plinth migrate --print-roles"),
    });
  });

  test("names the script to an owner who may not repair a role with too many rights", async () => {
    const database = await createDatabase();
    await asAdmin(database, (client) => bootstrap(client));
    await asAdmin(database, (client) =>
      client.query(`alter role ${quote(roleName(prefix, "user"))} createdb`),
    );

    await expect(
      as(roleName(prefix, "owner"), database, (client) => ensureRoles(client, prefix)),
    ).rejects.toMatchObject({ code: "ROLES_MISSING" });
  });

  test("keeps the passwords that the owner may not set", async () => {
    const database = await createDatabase();
    await asAdmin(database, (client) => bootstrap(client));

    await as(roleName(prefix, "owner"), database, (client) =>
      ensureRoles(client, prefix, { service: "other" }),
    );

    await as(roleName(prefix, "service"), database, (client) => client.query("select 1"));
  });

  test("rejects a database in which the owner may not create schemas", async () => {
    const database = await createDatabase();
    await asAdmin(database, (client) => bootstrap(client));

    await expect(
      as(roleName(prefix, "worker"), database, (client) => ensureRoles(client, prefix)),
    ).rejects.toMatchObject({ code: "DATABASE_NOT_WRITABLE" });
  });
});

async function bootstrap(client: pg.ClientBase): Promise<void> {
  const passwords = Object.fromEntries(LOGIN_ROLES.map((role) => [role, PASSWORD]));
  await runBootstrap(client, { prefix, ownerIsCurrentUser: false, passwords });
}

function uniqueName(): string {
  return `${rolePrefix}_b${randomBytes(5).toString("hex")}`;
}

function quote(name: string): string {
  return pg.escapeIdentifier(name);
}

async function createRole(attributes: string): Promise<string> {
  const name = uniqueName();
  await withClient(adminUrl, (client) =>
    client.query(`create role ${quote(name)} ${attributes} password ${pg.escapeLiteral(PASSWORD)}`),
  );
  // Roles that it creates depend on it as their grantor, so it is dropped last.
  roles.push(name);
  return name;
}

async function createDatabase(owner?: string): Promise<string> {
  const name = uniqueName();
  await withClient(adminUrl, async (client) => {
    if (owner) await client.query(`grant ${quote(owner)} to current_user`);
    await client.query(`create database ${quote(name)}${owner ? ` owner ${quote(owner)}` : ""}`);
  });
  databases.push(name);
  return name;
}

function asAdmin<T>(database: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  return withClient(databaseUrl(adminUrl, database), use);
}

function as<T>(role: string, database: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  return withClient(databaseUrl(adminUrl, database, role, PASSWORD), use);
}

/** The transaction that wrote each row which bootstrapSql may write, except passwords. */
async function versions(client: pg.Client): Promise<unknown[]> {
  const { rows } = await client.query(
    `select 'role ' || rolname as what, oid::text as version from pg_roles where starts_with(rolname, $1)
     union all
     select 'member ' || roleid::regrole || ' of ' || member::regrole, xmin::text from pg_auth_members
     where starts_with(member::regrole::text, $1)
     union all
     select 'database', xmin::text from pg_database where datname = current_database()
     union all
     select 'setting of ' || setrole::regrole, xmin::text from pg_db_role_setting
     where starts_with(setrole::regrole::text, $1)
     order by 1`,
    [`${prefix}_`],
  );
  return rows;
}
