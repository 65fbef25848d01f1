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
import type { Actor } from "./actors.ts";
import { argumentsOf, type Samples } from "./samples.ts";

/** Asks the API as an actor. */
export type Ask = (actor: Actor, document: string) => Promise<Answer>;

export function tokenOf({ userId, sessionId }: Actor): string | undefined {
  if (userId === null || sessionId === null) return undefined;
  const tokens = createAccessTokens({
    keys: parseSigningKeys(SIGNING_KEYS),
    issuer: "plinth",
    audience: "plinth",
    ttlSeconds: 3_600,
  });
  return tokens.sign({ userId, sessionId, tokenVersion: 0 }).token;
}

/** An API that forgets what it was told: see `openApi`. */
export interface ForgetfulApi {
  readonly ask: Ask;
  /** `http://127.0.0.1:port` */
  readonly url: string;
  close(): Promise<void>;
}

/**
 * A server keeps in memory which sessions were ended, also if that was rolled back afterwards. An actor that it rejects whatever it
 * asks asks again at a new one.
 */
export async function openApi(start: () => Promise<Api>, actors: readonly Actor[]): Promise<ForgetfulApi> {
  const tokens = new Map(actors.map((actor) => [actor, tokenOf(actor)]));
  let api = await start();
  const isRejected = async (token: string) => !(await api.ask("{ __typename }", { token })).data;
  return {
    async ask(actor, document) {
      const token = tokens.get(actor);
      const answer = await api.ask(document, { token });
      const isUnauthenticated = answer.errors?.some(({ extensions }) => extensions.code === "UNAUTHENTICATED");
      if (!isUnauthenticated || token === undefined || !(await isRejected(token))) return answer;
      await api.close();
      api = await start();
      return api.ask(document, { token });
    },
    get url() {
      return api.url;
    },
    close: () => api.close(),
  };
}

/** A field that can be called with sample arguments, as in a document. */
export const callOf = ({ name, args }: GraphQLField<unknown, unknown>, samples: Samples, id?: string): string =>
  `${name}${argumentsOf(args, samples, id)}`;

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
export const leavesOf = (type: GraphQLObjectType): readonly GraphQLField<unknown, unknown>[] =>
  Object.values(type.getFields())
    .filter((field) => isLeafType(getNamedType(field.type)) && !needsArguments(field))
    .sort((a, b) => Number(isNonNullType(b.type)) - Number(isNonNullType(a.type)));

export const needsArguments = ({ args }: GraphQLField<unknown, unknown>): boolean =>
  args.some(({ type, defaultValue }) => isNonNullType(type) && defaultValue === undefined);
