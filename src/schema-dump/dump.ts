import type pg from "pg";
import { readCatalog, withPrintSettings } from "./catalog.ts";
import { dumpFunctions, type FunctionFixtures } from "./functions.ts";
import { readRelationParts } from "./relation-parts.ts";
import { dumpDatabase, dumpSchemas } from "./schemas.ts";
import { dumpTables } from "./tables.ts";
import { dumpTextSearch } from "./text-search.ts";
import { dumpTypes } from "./types.ts";
import { dumpViews } from "./views.ts";

/** Key of the objects without a schema: extensions and default privileges. */
const DATABASE_KEY = "database";

/**
 * Dumps the current schema from the catalogue: one readable SQL text per schema (and one under {@link DATABASE_KEY}). Equal schemas
 * give equal texts, regardless of server, role prefix and date. The texts are for reading and comparing, not for loading: tables
 * are sorted by name. Omits the schemas of the job queue and of graphile-migrate, objects of extensions, and monthly partitions.
 * @param client connected as the owner; may be inside a transaction, whose changes are then visible
 * @param options.fixtures the files that hold the bodies of functions, which are then omitted; without it, the dump holds every body
 */
export async function dumpSchema(
  client: pg.ClientBase,
  options: { rolePrefix: string; schemas?: readonly string[]; fixtures?: FunctionFixtures },
): Promise<Map<string, string>> {
  return withPrintSettings(client, async () => {
    const catalog = await readCatalog(client, options);
    const parts = await readRelationParts(catalog);
    const sections = [
      { title: "Types and sequences", texts: await dumpTypes(catalog) },
      { title: "Text search", texts: await dumpTextSearch(catalog) },
      { title: "Tables", texts: await dumpTables(catalog, parts) },
      { title: "Views", texts: await dumpViews(catalog, parts) },
      { title: "Functions", texts: await dumpFunctions(catalog, options.fixtures) },
    ];
    const dump = new Map([
      [DATABASE_KEY, file("Objects outside the schemas", [await dumpDatabase(catalog)])],
    ]);
    for (const [schema, head] of await dumpSchemas(catalog)) {
      const body = sections.flatMap(({ title, texts }) => {
        const found = texts.get(schema) ?? [];
        return found.length === 0 ? [] : [`-- ${title} ${"-".repeat(100 - title.length)}`, ...found];
      });
      dump.set(schema, file(`Schema ${schema}`, [head, ...body]));
    }
    return dump;
  });
}

function file(subject: string, sections: readonly string[]): string {
  const head = `-- ${subject} as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.`;
  return `${[head, ...sections.filter((text) => text !== "")].join("\n\n")}\n`;
}
