import { type PgCodec, TYPES } from "@dataplan/pg";
import { type SQL, sql } from "pg-sql2";
import { base64Sql } from "../paging/cursor.ts";
import { NotCompilable } from "./field-source.ts";
import { type JsonText, quoted } from "./json-text.ts";

/** Key columns whose value in a node id is a JSON string. */
const TEXTS: ReadonlySet<PgCodec> = new Set<PgCodec>([TYPES.uuid, TYPES.text, TYPES.varchar, TYPES.bigint]);
const NUMBERS: ReadonlySet<PgCodec> = new Set<PgCodec>([TYPES.int, TYPES.int2]);

/** Returns the JSON of a row's node id, as PostGraphile's codec "base64JSON" writes it. */
export function nodeIdSql(
  typeName: string,
  columns: readonly { readonly name: string; readonly codec: PgCodec }[],
  row: SQL,
): JsonText {
  const values = columns.map(({ name, codec }) => {
    const value = sql`(${row}.${sql.identifier(name)})::text`;
    const base = codec.domainOfCodec ?? codec;
    if (TEXTS.has(base)) return sql`',' || to_json(${value})::text`;
    if (NUMBERS.has(base)) return sql`',' || ${value}`;
    throw new NotCompilable(`${codec.name} in a node id.`);
  });
  const text = sql`${sql.literal(`[${JSON.stringify(typeName)}`)} || ${sql.join(values, " || ")} || ']'`;
  return quoted(base64Sql(text));
}
