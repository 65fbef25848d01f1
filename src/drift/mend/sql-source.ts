import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { readFunctionFixtures } from "../../database/fixtures.ts";
import { lowerCaseKeywords, splitStatements } from "../../schema-dump/sql-text.ts";
import { OPTIONAL_MIGRATIONS_FOLDER } from "../../support/paths.ts";
import type { CatalogueObject } from "../catalogue.ts";
import { targetOf } from "./target.ts";

/** The SQL of objects whose definitions the catalogue only hashes, or does not hold: views, functions, comments, whole tables. */
export interface SqlSource {
  /** The statements that create an object, without its parts; empty if the files do not have it. */
  create(object: CatalogueObject): readonly string[];
  /** COMMENT ON; without a comment in the files, one that removes it. */
  comment(object: CatalogueObject): string;
  commentsOfColumns(relation: string): readonly string[];
  hasComment(object: CatalogueObject): boolean;
}

/** Reads the files of `plinth schema dump` and the fixtures of functions. */
export async function readSqlSource(migrationsFolders: readonly string[]): Promise<SqlSource> {
  const index: Index = { created: new Map(), functions: new Map(), comments: new Map() };
  for (const folder of migrationsFolders) {
    for (const text of await readDumps(join(folder, "schema"))) addStatements(index, text);
    for (const { text } of await readFunctionFixtures(folder))
      addStatements(index, text, { onlyFunctions: true });
  }
  addStatements(index, await readFile(join(OPTIONAL_MIGRATIONS_FOLDER, "memory-vectors.sql"), "utf8"));
  return {
    create: (object) => createdBy(index, object),
    comment: (object) => index.comments.get(commentKey(object)) ?? `comment on ${targetOf(object)} is null;`,
    commentsOfColumns: (relation) =>
      [...index.comments].filter(([key]) => key.startsWith(`column ${relation}.`)).map(([, sql]) => sql),
    hasComment: (object) => index.comments.has(commentKey(object)),
  };
}

interface Index {
  readonly created: Map<string, string[]>;
  /** By name without arguments: overloads are created together. */
  readonly functions: Map<string, string[]>;
  readonly comments: Map<string, string>;
}

const FUNCTION_KINDS = ["function", "procedure", "aggregate"];

function createdBy({ created, functions }: Index, object: CatalogueObject): readonly string[] {
  return FUNCTION_KINDS.includes(object.kind)
    ? (functions.get(object.name.split("(")[0]!) ?? [])
    : (created.get(targetOf(object)) ?? []);
}

/** Dumps print the arguments of functions with keywords in lower case. */
const commentKey = (object: CatalogueObject) => lowerCaseKeywords(targetOf(object));

async function readDumps(folder: string): Promise<string[]> {
  if (!existsSync(folder)) return [];
  const names = (await readdir(folder)).filter((name) => name.endsWith(".sql")).sort();
  return Promise.all(names.map((name) => readFile(join(folder, name), "utf8")));
}

const NAME = '((?:"(?:[^"]|"")*"|[\\w.])+)';
const CREATE = new RegExp(
  `^create (?:unlogged )?(table|view|materialized view|type|domain|sequence|schema|extension|text search \\w+)(?: if not exists)? ${NAME}`,
);
const MAPPING = new RegExp(`^alter (text search configuration) ${NAME} add mapping`);
const FUNCTION = new RegExp(`create (?:or replace )?(?:function|procedure|aggregate) ${NAME} ?\\(`);
const COMMENT = /^comment on (.+?)\s+is\s+(?=E?'|null)/s;

function addStatements(index: Index, text: string, { onlyFunctions = false } = {}): void {
  for (const statement of splitStatements(text)) {
    const [, defined] = FUNCTION.exec(statement) ?? [];
    if (defined !== undefined) {
      // A dump names the fixture instead of printing the body.
      if (/\bas\b|\bbegin atomic\b|\breturn\b|^create aggregate\b/i.test(statement.replace(/^[^)]*\)/, "")))
        add(index.functions, defined, statement);
      continue;
    }
    if (onlyFunctions) continue;
    const [, kind, name] = CREATE.exec(statement) ?? MAPPING.exec(statement) ?? [];
    if (kind !== undefined) add(index.created, `${kind} ${name}`, statement);
    const [, target] = COMMENT.exec(statement) ?? [];
    if (target !== undefined) index.comments.set(lowerCaseKeywords(target), statement);
  }
}

function add(texts: Map<string, string[]>, key: string, statement: string): void {
  texts.set(key, [...(texts.get(key) ?? []), statement]);
}
