import { type PgCodec, TYPES } from "@dataplan/pg";
import { GraphQLEnumType, type GraphQLOutputType, isListType, isNonNullType } from "graphql";
import { type SQL, sql } from "pg-sql2";
import { NotCompilable } from "./field-source.ts";
import { concatenated, constantSql, type JsonText, nullable, quoted } from "./json-text.ts";

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
  return [sql`coalesce(${concatenated(text)}, ${failing(value)})`];
}

/** An expression that fails when it is evaluated. PostgreSQL would compute a constant while planning. */
const failing = (value: SQL): SQL => sql`('?' || coalesce((${value})::text, ''))::json::text`;

function baseOf(codec: PgCodec): PgCodec {
  return codec.domainOfCodec ? baseOf(codec.domainOfCodec) : codec;
}

/** The JSON of a value that is not null. */
function textOf(codec: PgCodec, type: GraphQLOutputType, value: SQL): JsonText {
  if (isListType(type)) {
    const item = codec.arrayOfCodec && baseOf(codec.arrayOfCodec);
    const list = [sql`to_json((${value})::text[])::text`];
    if (item && type.ofType instanceof GraphQLEnumType)
      return listed(
        type.ofType,
        item,
        value,
        list,
        (names) => sql`not ((${value})::text[] <@ array[${names}])`,
      );
    if (!item || isNonNullType(type.ofType) || !LISTED.has(item))
      throw new NotCompilable(`Lists of ${item?.name ?? codec.name} are read by PostGraphile.`);
    return list;
  }
  if (type instanceof GraphQLEnumType) {
    const text = quoted(sql`(${value})::text`);
    return listed(type, codec, value, text, (names) => sql`(${value})::text not in (${names})`);
  }
  if (TEXTS.has(codec)) return [sql`to_json((${value})::text)::text`];
  if (codec === TYPES.jsonb) return [sql`nullif((${value})::text, 'null')`];
  if (JSON_TYPES.has(codec)) return [sql`(${value})::text`];
  if (SAFE_TEXTS.has(codec)) return quoted(codec.castFromPg?.(value) ?? sql`(${value})::text`);
  if (codec === TYPES.inet) return quoted(sql`regexp_replace((${value})::text, '/(32|128)$', '')`);
  throw new NotCompilable(`${codec.name} is read by PostGraphile.`);
}

/**
 * The JSON of one value or a list of values of an enum. A text that is not one of them, which no constraint prevents in a view, fails,
 * because GraphQL reports an error.
 */
function listed(
  type: GraphQLEnumType,
  codec: PgCodec,
  value: SQL,
  text: JsonText,
  isUnknown: (names: SQL) => SQL,
): JsonText {
  const values = type.getValues();
  if (values.some((each) => each.name !== each.value))
    throw new NotCompilable(`Names of ${type.name} differ from its values.`);
  if (!codec.extensions?.isClosedListOfText) return text;
  const names = sql.join(
    values.map(({ name }) => constantSql(name)),
    ", ",
  );
  return [sql`case when ${isUnknown(names)} then ${failing(value)} else ${concatenated(text)} end`];
}
