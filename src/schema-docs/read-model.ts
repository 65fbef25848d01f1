import type pg from "pg";
import { DOMAINS, domainsWith } from "./domains.ts";
import type { Relation, SchemaModel } from "./model.ts";
import { readPageData } from "./read-page-data.ts";
import { readTables } from "./read-tables.ts";

/**
 * Reads the model of Plinth's schemas from the catalogue of a migrated database. Partitions are omitted, because they depend on
 * the date.
 * @param client connected as the owner
 */
export async function readSchemaModel(client: pg.ClientBase, rolePrefix: string): Promise<SchemaModel> {
  const drawn = [...DOMAINS.keys()];
  const tables = await readTables(client, drawn);
  const page = await readPageData(client, { title: "Plinth", domains: DOMAINS, rolePrefix });
  return { project: "plinth", domains: DOMAINS, drawn, ...tables, page };
}

/**
 * The same for the schemas of an application, with the keys of the tables in other schemas that its tables refer to. Its page shows
 * Plinth's schemas as well, so that links between them work.
 */
export async function readApplicationModel(
  client: pg.ClientBase,
  schemas: readonly string[],
  rolePrefix: string,
): Promise<SchemaModel> {
  const own = await readTables(client, schemas);
  const keysOf = new Map<string, Set<string>>();
  for (const { to, toColumns } of own.references) {
    const name = `${to.schema}.${to.name}`;
    keysOf.set(name, new Set([...(keysOf.get(name) ?? []), ...toColumns]));
  }
  const others = [...new Set(own.references.map(({ to }) => to.schema))]
    .filter((schema) => !schemas.includes(schema))
    .sort();
  const outside = (await readTables(client, others)).relations.flatMap((relation) => {
    const keys = keysOf.get(`${relation.schema}.${relation.name}`);
    return keys ? [onlyKeys(relation, keys)] : [];
  });
  const domains = domainsWith(schemas, others);
  return {
    project: "application",
    domains,
    drawn: schemas,
    relations: [...own.relations, ...outside],
    references: own.references,
    page: await readPageData(client, {
      title: "Application",
      domains: new Map([...domains, ...DOMAINS]),
      rolePrefix,
    }),
  };
}

const onlyKeys = (relation: Relation, keys: ReadonlySet<string>): Relation => {
  const isKept = (name: string) => keys.has(name) || relation.primaryKey.includes(name);
  return {
    ...relation,
    columns: relation.columns.filter(({ name }) => isKept(name)),
    uniqueKeys: relation.uniqueKeys.filter((key) => key.every(isKept)),
  };
};
