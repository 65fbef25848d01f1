import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { listFixtures } from "../database/fixtures.ts";
import type { Catalogue, CatalogueObject } from "./catalogue.ts";
import { hash } from "./hash.ts";

/** Separates the bodies of a function that depends on the server's version. Each is right: an upgraded server keeps the older one. */
const OR = " or ";

/** Whether a property is as expected: one of several bodies is enough. */
export function isExpected(
  property: string,
  expected: string | undefined,
  found: string | undefined,
): boolean {
  if (expected === found) return true;
  return property === "body" && found !== undefined && (expected?.split(OR).includes(found) ?? false);
}

/** Adds the other bodies of functions whose fixture chooses by the server's version. */
export async function withAlternativeBodies(
  catalogue: Catalogue,
  migrationsFolder: string,
): Promise<Catalogue> {
  const alternatives = await readAlternatives(migrationsFolder);
  return new Map([...catalogue].map(([title, object]) => [title, withBodies(object, alternatives)]));
}

function withBodies(object: CatalogueObject, alternatives: ReadonlyMap<string, string[]>): CatalogueObject {
  const bodies = alternatives.get(object.name.split("(")[0]!);
  if (object.kind !== "function" || !bodies?.includes(object.properties.body ?? "")) return object;
  return { ...object, properties: { ...object.properties, body: bodies.join(OR) } };
}

/** The hashes of all bodies in such a fixture, by the function's name. */
async function readAlternatives(migrationsFolder: string): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const name of await listFixtures(migrationsFolder)) {
    const text = await readFile(join(migrationsFolder, "fixtures", name), "utf8");
    if (!text.includes("server_version_num")) continue;
    const [, defined] = /create or replace function ([a-z_0-9.]+)/.exec(text) ?? [];
    const bodies = [...text.matchAll(/as \$\$([\s\S]*?)\$\$/g)].map(([, body]) => hash(body!));
    if (defined !== undefined) found.set(defined, bodies);
  }
  return found;
}
