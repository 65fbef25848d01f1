import { type PgCodec, TYPES } from "@dataplan/pg";
import { GraphQLEnumType, type GraphQLOutputType, isListType, isNonNullType } from "graphql";
import { type SQL, sql } from "pg-sql2";
import { NotCompilable } from "./field-source.ts";
import { concatenated, type JsonText, nullable, quoted } from "./json-text.ts";

const oneOf = (...codecs: PgCodec[]): ReadonlySet<PgCodec> => new Set(codecs);

const TEXTS = oneOf(TYPES.text, TYPES.varchar, TYPES.bpchar, TYPES.citext, TYPES.name);
/** Types whose text is JSON. */
const JSON_TYPES = oneOf(TYPES.boolean, TYPES.int2, TYPES.int);
/** Types whose text, in the form that PostGraphile asks for, has no character that JSON escapes. */
const SAFE_TEXTS = oneOf(
  TYPES.uuid,
  TYPES.bigint,
  TYPES.numeric,
  TYPES.timestamptz,
  TYPES.timestamp,
  TYPES.date,
  TYPES.time,
  TYPES.timetz,
  TYPES.cidr,
  TYPES.macaddr,
);
/** Types whose lists PostGraphile reads as PostgreSQL writes them. */
const LISTED = oneOf(TYPES.text, TYPES.varchar, TYPES.uuid, TYPES.bigint, TYPES.numeric, TYPES.cidr);
/** Types that have values whose JSON value is null: infinite times, and the null of JSON. */
const MAY_READ_AS_NULL = oneOf(TYPES.timestamptz, TYPES.timestamp, TYPES.date, TYPES.jsonb);

export interface Leaf {
  readonly codec: PgCodec;
  readonly type: GraphQLOutputType;
  readonly value: SQL;
  /** Whether the database guarantees that the value is not null. */
  readonly isNeverNull?: boolean;
}

/**
 * Returns the JSON of a value as GraphQL returns it. Where GraphQL reports an error, because the value is null and must not be,
 * the expression fails.
 * @throws NotCompilable for types whose JSON value PostGraphile computes
 */
export function leafJson({ codec: declared, type, value, isNeverNull = false }: Leaf): JsonText {
  const codec = baseOf(declared);
  if (!isNonNullType(type)) return nullable(textOf(codec, type, value));
  const text = textOf(codec, type.ofType, value);
  if (isNeverNull && !MAY_READ_AS_NULL.has(codec)) return text;
  // Not a constant, which PostgreSQL would compute while planning.
  const failing = sql`('null ' || coalesce((${value})::text, ''))::json::text`;
  return [sql`coalesce(${concatenated(text)}, ${failing})`];
}

function baseOf(codec: PgCodec): PgCodec {
  return codec.domainOfCodec ? baseOf(codec.domainOfCodec) : codec;
}

/** The JSON of a value that is not null. */
function textOf(codec: PgCodec, type: GraphQLOutputType, value: SQL): JsonText {
  if (isListType(type)) {
    const item = codec.arrayOfCodec && baseOf(codec.arrayOfCodec);
    if (!item || isNonNullType(type.ofType) || type.ofType instanceof GraphQLEnumType || !LISTED.has(item))
      throw new NotCompilable(`Lists of ${item?.name ?? codec.name} are read by PostGraphile.`);
    return [sql`to_json((${value})::text[])::text`];
  }
  if (type instanceof GraphQLEnumType) {
    if (type.getValues().some((each) => each.name !== each.value))
      throw new NotCompilable(`Names of ${type.name} differ from its values.`);
    return quoted(sql`(${value})::text`);
  }
  if (TEXTS.has(codec)) return [sql`to_json((${value})::text)::text`];
  if (codec === TYPES.jsonb) return [sql`nullif((${value})::text, 'null')`];
  if (JSON_TYPES.has(codec)) return [sql`(${value})::text`];
  if (SAFE_TEXTS.has(codec)) return quoted(codec.castFromPg?.(value) ?? sql`(${value})::text`);
  if (codec === TYPES.inet) return quoted(sql`regexp_replace((${value})::text, '/(32|128)$', '')`);
  throw new NotCompilable(`${codec.name} is read by PostGraphile.`);
}
