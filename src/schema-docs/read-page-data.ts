import type pg from "pg";
import { ROLES } from "../config/roles.ts";
import type { CatalogueObject } from "../drift/catalogue.ts";
import { ALIASES } from "./aliases.ts";
import { readCatalogued } from "./catalogued.ts";
import type { Domains } from "./domains.ts";
import type { PageData, PageRole } from "./page-data.ts";
import { functionsOf, typesOf } from "./page-functions.ts";
import { roleLabel } from "./page-grants.ts";
import { relationOf } from "./page-relations.ts";
import { readTables } from "./read-tables.ts";

const TEXTS: Readonly<Record<(typeof ROLES)[number], string>> = {
  owner: "Owns all objects and runs the migrations.",
  authenticator: "Login of the API, which may only become anonymous or user.",
  anonymous: "Requests without a token.",
  user: "Requests of a signed-in user.",
  service: "The server itself, for sign-ins, tokens and webhooks.",
  worker: "Jobs.",
  analyst: "People and tools that read the views of analytics.",
};

/**
 * Reads everything that the page of the schema shows.
 * @param client connected as the owner
 */
export async function readPageData(
  client: pg.ClientBase,
  { title, domains, rolePrefix }: { title: string; domains: Domains; rolePrefix: string },
): Promise<PageData> {
  const schemas = [...domains.keys()];
  const { relations, references } = await readTables(client, schemas);
  const catalogued = await readCatalogued(client, rolePrefix, schemas);
  const objects = [...catalogued.objects.values()];
  const functions = functionsOf(objects, catalogued, schemas);
  const named = new Set([
    ...relations.flatMap(({ schema, name, columns }) => [
      `${schema}.${name}`,
      ...columns.map((column) => `${schema}.${name}.${column.name}`),
    ]),
    ...functions.map(({ schema, name }) => `${schema}.${name}()`),
  ]);
  return {
    title,
    roles: rolesOf(objects),
    schemas: [...domains].map(([name, color]) => ({
      name,
      comment: catalogued.comments.get(`schema ${name}`) ?? "",
      color,
    })),
    relations: relations.map((relation) => relationOf(relation, references, catalogued)),
    functions,
    types: typesOf(objects, catalogued),
    // A database without one of the modules lacks some.
    aliases: ALIASES.filter(({ to }) => named.has(to)),
  };
}

/** Plinth's roles in their order, without the two that have no grants, then others that have some. */
function rolesOf(objects: readonly CatalogueObject[]): PageRole[] {
  const granted = new Set(
    objects.flatMap(({ kind, name, on }) =>
      kind === "grant" && !/^(type|schema) /.test(on ?? "") ? [roleLabel(name)] : [],
    ),
  );
  const own = ROLES.filter((role) => role !== "owner" && role !== "authenticator");
  const others = [...granted].filter((name) => !ROLES.some((role) => role === name)).sort();
  return [
    ...own.map((role) => ({ name: role, text: TEXTS[role] })),
    ...others.map((name) => ({
      name,
      text: name === "everyone" ? "Every role of the server (PUBLIC)." : "A role of this database.",
    })),
  ];
}
