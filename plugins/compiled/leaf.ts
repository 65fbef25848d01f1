import { type PgCodec, TYPES } from "postgraphile/@dataplan/pg";
import { GraphQLEnumType, type GraphQLOutputType, isListType, isNonNullType } from "postgraphile/graphql";
import { type SQL, sql } from "postgraphile/pg-sql2";
import { NotCompilable } from "./field-source.ts";

/** Types whose JSON value is PostgreSQL's own. */
const AS_THEY_ARE: ReadonlySet<PgCodec> = new Set<PgCodec>([
  TYPES.boolean,
  TYPES.int2,
  TYPES.int,
  TYPES.text,
  TYPES.varchar,
  TYPES.uuid,
]);
/** Types whose JSON value is their text, in the form that PostGraphile asks for. */
const AS_TEXT: ReadonlySet<PgCodec> = new Set<PgCodec>([
  TYPES.bigint,
  TYPES.numeric,
  TYPES.citext,
  TYPES.bpchar,
  TYPES.name,
  TYPES.timestamptz,
  TYPES.timestamp,
  TYPES.date,
  TYPES.time,
  TYPES.timetz,
  TYPES.cidr,
  TYPES.macaddr,
]);
/** Types whose lists have PostgreSQL's text for each item. */
const LISTED_AS_TEXT: ReadonlySet<PgCodec> = new Set<PgCodec>([
  TYPES.text,
  TYPES.varchar,
  TYPES.uuid,
  TYPES.bigint,
  TYPES.numeric,
  TYPES.cidr,
]);

/** Types that have values whose JSON value is null: infinite times, and the null of JSON. */
const MAY_READ_AS_NULL: ReadonlySet<PgCodec> = new Set<PgCodec>([
  TYPES.timestamptz,
  TYPES.timestamp,
  TYPES.date,
  TYPES.jsonb,
]);

export interface Leaf {
  readonly codec: PgCodec;
  readonly type: GraphQLOutputType;
  readonly value: SQL;
  /** Whether the database guarantees that the value is not null. */
  readonly isNeverNull?: boolean;
}

/**
 * Returns an expression whose JSON value is what GraphQL returns for a value. Where GraphQL reports an error, because the
 * value is null and must not be, the expression fails.
 * @throws NotCompilable for types whose JSON value PostGraphile computes
 */
export function leafJson({ codec: declared, type, value, isNeverNull = false }: Leaf): SQL {
  const codec = baseOf(declared);
  if (!isNonNullType(type)) return nullableJson(codec, type, value);
  const json = nullableJson(codec, type.ofType, value);
  if (isNeverNull && !MAY_READ_AS_NULL.has(codec)) return json;
  // Not a constant, which PostgreSQL would compute while planning.
  return sql`coalesce(to_json(${json}), ('null ' || coalesce((${value})::text, ''))::json)`;
}

function baseOf(codec: PgCodec): PgCodec {
  return codec.domainOfCodec ? baseOf(codec.domainOfCodec) : codec;
}

function nullableJson(codec: PgCodec, type: GraphQLOutputType, value: SQL): SQL {
  if (isListType(type)) {
    const item = codec.arrayOfCodec && baseOf(codec.arrayOfCodec);
    if (
      !item ||
      isNonNullType(type.ofType) ||
      type.ofType instanceof GraphQLEnumType ||
      !LISTED_AS_TEXT.has(item)
    )
      throw new NotCompilable(`Lists of ${item?.name ?? codec.name} are read by PostGraphile.`);
    return sql`to_json((${value})::text[])`;
  }
  if (type instanceof GraphQLEnumType) {
    if (type.getValues().some((each) => each.name !== each.value))
      throw new NotCompilable(`Names of ${type.name} differ from its values.`);
    return sql`(${value})::text`;
  }
  if (AS_THEY_ARE.has(codec)) return value;
  // A null of JSON is null in GraphQL.
  if (codec === TYPES.jsonb) return sql`nullif(${value}, 'null'::jsonb)`;
  if (codec === TYPES.inet) return sql`regexp_replace((${value})::text, '/(32|128)$', '')`;
  if (AS_TEXT.has(codec)) return codec.castFromPg?.(value) ?? sql`(${value})::text`;
  throw new NotCompilable(`${codec.name} is read by PostGraphile.`);
}
