import type pg from "pg";
import { ALL_ROLES, roleName } from "../config/roles.ts";
import { SCHEMAS } from "../database/schemas.ts";
import { withPrintSettings } from "../schema-dump/catalog.ts";
import { type Catalogue, type CatalogueObject, catalogueOf, type Properties } from "./catalogue.ts";
import { hash } from "./hash.ts";
import { FUNCTIONS_QUERY, TEXT_SEARCH_QUERY, TYPES_QUERY } from "./queries/functions.ts";
import { DATABASE_QUERY } from "./queries/others.ts";
import {
  DEFAULT_PRIVILEGES_QUERY,
  OUTER_PRIVILEGES_QUERY,
  PRIVILEGES_QUERY,
  SETTINGS_QUERY,
} from "./queries/privileges.ts";
import {
  CONSTRAINTS_QUERY,
  INDEXES_QUERY,
  RULES_QUERY,
  STATISTICS_QUERY,
  TRIGGERS_QUERY,
} from "./queries/relation-parts.ts";
import { COLUMNS_QUERY, POLICIES_QUERY, RELATIONS_QUERY, SCHEMAS_QUERY } from "./queries/relations.ts";
import { canonicalView } from "./view-text.ts";

const QUERIES = [
  SCHEMAS_QUERY,
  RELATIONS_QUERY,
  COLUMNS_QUERY,
  CONSTRAINTS_QUERY,
  INDEXES_QUERY,
  STATISTICS_QUERY,
  TRIGGERS_QUERY,
  RULES_QUERY,
  POLICIES_QUERY,
  FUNCTIONS_QUERY,
  TYPES_QUERY,
  TEXT_SEARCH_QUERY,
  PRIVILEGES_QUERY,
  DEFAULT_PRIVILEGES_QUERY,
  OUTER_PRIVILEGES_QUERY,
  SETTINGS_QUERY,
  DATABASE_QUERY,
];

/**
 * Reads every object of the schemas, which are Plinth's by default, from the system catalogues, which any role may read. Equal schemas give equal catalogues on
 * every supported version of PostgreSQL, with any role prefix. Long definitions are hashed. Roles and the schemas of the job queue
 * and of the migrations are not included.
 * @param client may be inside a transaction, whose changes are then visible
 */
export async function readCatalogue(
  client: pg.ClientBase,
  rolePrefix: string,
  schemas: readonly string[] = SCHEMAS,
): Promise<Catalogue> {
  return withPrintSettings(client, async () => {
    const owner = await findOwner(client);
    const labels = JSON.stringify(await readLabels(client, owner, rolePrefix));
    const objects: CatalogueObject[] = [];
    for (const sql of QUERIES) {
      const { rows } = await client.query<Row>(sql, [schemas, labels, owner]);
      for (const row of rows) objects.push(normalize(row, rolePrefix));
    }
    return catalogueOf(objects);
  });
}

/** Returns the oid of the role that owns most tables and views, so that a single change of owner is seen as such. */
export async function findOwner(client: pg.ClientBase): Promise<string> {
  const { rows } = await client.query<{ owner: string }>(
    `select coalesce(mode() within group (order by c.relowner), '0')::text as owner
     from pg_class c
     join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = any ($1) and c.relkind in ('r', 'p', 'v', 'm')`,
    [SCHEMAS],
  );
  return rows[0]!.owner;
}

/** The names of roles by oid: the placeholders of migrations for Plinth's roles. */
async function readLabels(
  client: pg.ClientBase,
  owner: string,
  rolePrefix: string,
): Promise<Record<string, string>> {
  const placeholders = new Map(
    ALL_ROLES.filter((role) => role !== "owner").map((role) => [
      roleName(rolePrefix, role),
      placeholder(role),
    ]),
  );
  const { rows } = await client.query<{ oid: string; name: string; quoted: string }>(
    "select oid::text, rolname as name, quote_ident(rolname) as quoted from pg_roles",
  );
  const labels = rows.map(({ oid, name, quoted }) => [
    oid,
    oid === owner ? placeholder("owner") : (placeholders.get(name) ?? quoted),
  ]);
  return { 0: "public", ...Object.fromEntries(labels) };
}

interface Row {
  kind: string;
  name: string;
  on: string | null;
  properties: Properties;
}

function normalize({ kind, name, on, properties }: Row, rolePrefix: string): CatalogueObject {
  const entries = Object.entries(properties).map(([property, text]) => [
    property,
    normalizeProperty(kind, property, withPlaceholders(text, rolePrefix)),
  ]);
  return { kind, name, ...(on === null ? {} : { on }), properties: Object.fromEntries(entries) };
}

function normalizeProperty(kind: string, property: string, text: string): string {
  if (property === "body") return hash(text);
  if (property === "definition" && kind.endsWith("view")) return hash(canonicalView(text));
  if (property === "tags") return smartTags(text);
  return text;
}

const smartTags = (comment: string): string =>
  comment
    .split("\n")
    .filter((line) => line.startsWith("@"))
    .join("\n");

const placeholder = (role: string): string => `:PLINTH_${role.toUpperCase()}`;

/** Names of roles inside bodies and conditions, which the migrations wrote as placeholders. */
function withPlaceholders(text: string, rolePrefix: string): string {
  return text.includes(`${rolePrefix}_`)
    ? text.replaceAll(/\b\w+\b/g, (word) => {
        const role = ALL_ROLES.find((each) => word === roleName(rolePrefix, each));
        return role === undefined ? word : placeholder(role);
      })
    : text;
}
