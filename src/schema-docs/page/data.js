/** @import { Alias, PageData, PageFunction, PageRelation, PageType } from "../page-data.ts" */

/** @type {PageData} */
export const data = JSON.parse(document.getElementById("data")?.textContent ?? "");

/**
 * The address of an object: its names, joined by points.
 * @param {readonly string[]} names
 */
export function idOf(...names) {
  return names.map((name) => encodeURIComponent(name).replaceAll(".", "%2E")).join(".");
}

/** @param {{ schema: string, name: string }} object */
export const idOfObject = ({ schema, name }) => idOf(schema, name);

/** @param {{ schema: string, name: string }} func */
export const idOfFunction = ({ schema, name }) => `${idOf(schema, name)}()`;

/** @type {ReadonlyMap<string, PageData["schemas"][number]>} */
export const schemas = new Map(data.schemas.map((schema) => [idOf(schema.name), schema]));

/** @type {ReadonlyMap<string, PageRelation>} */
export const relations = new Map(data.relations.map((relation) => [idOfObject(relation), relation]));

/** @type {ReadonlyMap<string, PageFunction>} */
export const functions = new Map(data.functions.map((func) => [idOfFunction(func), func]));

/** @type {ReadonlyMap<string, PageType>} */
export const types = new Map(data.types.map((type) => [idOfObject(type), type]));

/** The foreign keys to a table, by its address. */
export const incoming = Map.groupBy(
  data.relations.flatMap((from) => (from.references ?? []).map((reference) => ({ ...reference, from }))),
  ({ to }) => to,
);

/** @type {ReadonlyMap<string, readonly Alias[]>} */
export const aliases = Map.groupBy(data.aliases, ({ to }) => to);

/** @param {string} name */
export const colorOf = (name) => schemas.get(idOf(name))?.color ?? "#57606a";
