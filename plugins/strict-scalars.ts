import "graphile-build-pg";
import { GraphQLError, type GraphQLScalarTypeConfig, Kind, type ValueNode } from "graphql";
import { isRawNumber } from "../src/support/exact-json.ts";

/** The values that a scalar accepts. */
interface Rule {
  readonly takesNumbers?: boolean;
  readonly takes: (text: string) => boolean;
  readonly expected: string;
}

const anyText: Rule = { takes: () => true, expected: "a string" };

/** Rules by the name of PostGraphile's scalars, where PostgreSQL accepts more than Plinth can return. */
const RULES: Readonly<Record<string, Rule>> = {
  BigInt: {
    takesNumbers: true,
    takes: (text) => /^[+-]?\d{1,100}$/.test(text),
    expected: "a whole number",
  },
  // NaN is greater than every limit, so no maximum constraint would reject it.
  BigFloat: {
    takesNumbers: true,
    takes: (text) => /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,6})?$/.test(text),
    expected: "a decimal number",
  },
  Datetime: {
    takes: isMoment,
    expected: "a time such as 2026-05-06T07:08:09Z, in the years 0001 to 9999",
  },
  Date: {
    takes: (text) => /^(?!0000)\d{4}-\d{2}-\d{2}$/.test(text),
    expected: "a date such as 2026-05-06, in the years 0001 to 9999",
  },
};

/** PostGraphile's other string scalars. String and ID are GraphQL's own; ExactJsonPlugin handles JSON. */
const OTHER_TEXTS = new Set(["UUID", "Cursor", "InternetAddress", "CidrAddress", "MacAddress", "XML"]);

/**
 * Scalars accept only values that can be read back unchanged. Otherwise `infinity` is read as null, a year BC as a year AD,
 * and an object as the string "[object Object]".
 */
export const StrictScalarsPlugin: GraphileConfig.Plugin = {
  name: "PlinthStrictScalarsPlugin",
  version: "1.0.0",
  description: "Rejects values of scalars that could not be read back",
  schema: {
    hooks: {
      GraphQLScalarType(config) {
        const rule = RULES[config.name] ?? (OTHER_TEXTS.has(config.name) ? anyText : undefined);
        return rule
          ? { ...config, ...strict(config as GraphQLScalarTypeConfig<unknown, unknown>, rule) }
          : config;
      },
    },
  },
};

function strict(
  { name, parseValue = (value) => value }: GraphQLScalarTypeConfig<unknown, unknown>,
  { takesNumbers = false, takes, expected }: Rule,
) {
  const check = (text: string | undefined, nodes?: ValueNode): unknown => {
    if (text !== undefined && takes(text)) return parseValue(text);
    throw new GraphQLError(`${name} must be ${expected}.`, {
      ...(nodes && { nodes }),
      // A value that is not a string has the wrong type, which validation reports.
      ...(text !== undefined && { extensions: { code: "BAD_USER_INPUT" } }),
    });
  };
  return {
    parseValue(value: unknown) {
      if (typeof value === "string") return check(value);
      if (takesNumbers && typeof value === "number") return check(String(value));
      // A number beyond double precision, see parseExactJson.
      if (takesNumbers && isRawNumber(value)) return check(value.rawJSON);
      return check(undefined);
    },
    parseLiteral(node: ValueNode) {
      const isTaken =
        node.kind === Kind.STRING || (takesNumbers && (node.kind === Kind.INT || node.kind === Kind.FLOAT));
      return check(isTaken ? node.value : undefined, node);
    },
  };
}

const MOMENT =
  /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?) ?(Z|[+-]\d{2}(?::?\d{2})?)?)?$/i;

/** Accepts ISO 8601 with a four-digit year, in UTC too. PostgreSQL checks whether the day exists. */
function isMoment(text: string): boolean {
  const [, day, time = "00:00", zone = "Z"] = MOMENT.exec(text) ?? [];
  if (!day) return false;
  const offset = zone.replace(
    /^([+-]\d{2}):?(\d{2})?$/,
    (_all, hours, minutes = "00") => `${hours}:${minutes}`,
  );
  const year = new Date(`${day}T${time}${offset}`.toUpperCase()).getUTCFullYear();
  return Number.isNaN(year) || (year >= 1 && year <= 9999);
}
