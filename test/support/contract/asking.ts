import {
  type GraphQLField,
  type GraphQLObjectType,
  type GraphQLOutputType,
  getNamedType,
  isLeafType,
  isNonNullType,
  isObjectType,
} from "postgraphile/graphql";
import { createAccessTokens } from "../../../src/auth/access-token.ts";
import { parseSigningKeys } from "../../../src/auth/signing-keys.ts";
import { type Answer, type Api, SIGNING_KEYS } from "../api.ts";
import type { ApiActor } from "./actors.ts";
import { argumentsOf, type Samples } from "./samples.ts";

/** Of the seeded sessions. Any other one would be recorded as a change of network when the attempts take longer than a minute. */
const SEEDED_ADDRESS = "192.0.2.1";

/** Asks the API as an actor. */
export type Ask = (actor: ApiActor, document: string) => Promise<Answer>;

export function tokenOf({ userId, sessionId, tokenVersion }: ApiActor): string | undefined {
  if (userId === null || sessionId === null) return undefined;
  const tokens = createAccessTokens({
    keys: parseSigningKeys(SIGNING_KEYS),
    issuer: "plinth",
    audience: "plinth",
    ttlSeconds: 3_600,
  });
  return tokens.sign({ userId, sessionId, tokenVersion }).token;
}

export function askerOf(api: Pick<Api, "ask">, actors: readonly ApiActor[]): Ask {
  const tokens = new Map(actors.map((actor) => [actor, tokenOf(actor)]));
  return (actor, document) =>
    api.ask(document, { token: tokens.get(actor), headers: { "x-forwarded-for": SEEDED_ADDRESS } });
}

/** A field that can be called with sample arguments, as in a document. */
export const callOf = (
  { name, args }: GraphQLField<unknown, unknown>,
  samples: Samples,
  row?: Samples,
): string => `${name}${argumentsOf(args, samples, row)}`;

/** A selection that makes the server read the value: the leaves of an object, or those of the rows of a page. */
export function selectionOf(type: GraphQLOutputType, samples: Samples): string {
  const named = getNamedType(type);
  if (isLeafType(named)) return "";
  if (!isObjectType(named)) return " { __typename }";
  const rows = rowsField(named);
  if (rows) return ` { ${rows.name}${selectionOf(rows.type, samples)} }`;
  const leaves = leavesOf(named);
  const [first] = leaves;
  if (first) return ` { ${first.name} }`;
  const [inner] = Object.values(named.getFields());
  return ` { ${callOf(inner!, samples)} { __typename } }`;
}

/** The field of a page that holds its rows. */
export const rowsField = (type: GraphQLObjectType): GraphQLField<unknown, unknown> | undefined =>
  type.getFields().pageInfo ? type.getFields().nodes : undefined;

/** Fields with a plain value, those that always have one first. */
const leavesOf = (type: GraphQLObjectType): readonly GraphQLField<unknown, unknown>[] =>
  Object.values(type.getFields())
    .filter((field) => isLeafType(getNamedType(field.type)) && !needsArguments(field))
    .sort((a, b) => Number(isNonNullType(b.type)) - Number(isNonNullType(a.type)));

const needsArguments = ({ args }: GraphQLField<unknown, unknown>): boolean =>
  args.some(({ type, defaultValue }) => isNonNullType(type) && defaultValue === undefined);
