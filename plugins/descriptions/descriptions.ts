import "graphile-build-pg";
import { OWN_SQLSTATES } from "../../src/request/public-error.ts";
import { TEXTS } from "./texts.ts";

interface Described {
  description?: string | null | undefined;
}

/** The table or view that a lookup reads. */
interface LookedUp {
  readonly codec: {
    readonly attributes?: Readonly<Record<string, { readonly description?: string | undefined }>>;
  };
}

/**
 * Describes everything in the schema: anything without a comment gets its description from the texts or from its kind.
 * Comments of functions name SQLSTATEs (PL404), which become the codes that a GraphQL client gets (NOT_FOUND).
 */
export const DescriptionsPlugin: GraphileConfig.Plugin = {
  name: "PlinthDescriptionsPlugin",
  version: "1.0.0",
  description: "Describes arguments, inputs and result columns",
  schema: {
    hooks: {
      GraphQLObjectType: (spec) => described(spec, TEXTS[spec.name] ?? typeText(spec.name)),
      GraphQLInputObjectType: (spec) => described(spec, TEXTS[spec.name] ?? typeText(spec.name)),
      GraphQLObjectType_fields_field(spec, _build, { Self, scope }) {
        const { fieldName } = scope;
        if (spec.description)
          spec.description = spec.description.replace(
            /\bPL\d{3}\b/g,
            (state) => OWN_SQLSTATES[state] ?? state,
          );
        return described(
          spec,
          textOf(`${Self.name}.${fieldName}`, fieldName) ??
            payloadText(Self.name, fieldName, String(spec.type)),
        );
      },
      GraphQLObjectType_fields_field_args_arg(spec, build, { Self, scope }) {
        const { fieldName, argName } = scope;
        if (spec.description || Self.name.startsWith("__")) return spec;
        const ofColumn = scope.isPgRowByUniqueConstraintField
          ? columnText(scope.pgFieldResource, (column) => build.inflection.camelCase(column) === argName)
          : undefined;
        return described(spec, ofColumn ?? textOf(`${fieldName}.${argName}`, argName));
      },
      GraphQLInputObjectType_fields_field(spec, _build, { Self, scope }) {
        const { fieldName } = scope;
        return described(
          spec,
          textOf(`${uncapitalized(Self.name.replace(/Input$/, ""))}.${fieldName}`, fieldName),
        );
      },
    },
  },
};

/** Adds the text to a spec without a description; hooks return the spec they were given. */
function described<T extends Described>(spec: T, text: string | undefined): T {
  if (!spec.description && text) spec.description = text;
  return spec;
}

function textOf(exact: string, general: string): string | undefined {
  return TEXTS[exact] ?? TEXTS[general];
}

function typeText(name: string): string | undefined {
  const mutation = uncapitalized(name.replace(/(Input|Payload)$/, ""));
  if (name.endsWith("Input")) return `All input for the \`${mutation}\` mutation.`;
  if (name.endsWith("Payload")) return `The output of our \`${mutation}\` mutation.`;
  return undefined;
}

function payloadText(type: string, field: string, fieldType: string): string | undefined {
  if (!type.endsWith("Payload")) return undefined;
  if (field === "query") return "The root query type, for further reads in the same request.";
  if (/^deleted.+NodeId$/.test(field)) return "The node id of the deleted row.";
  return `The current \`${fieldType.replace("!", "")}\`.`;
}

function columnText(resource: LookedUp | undefined, isIt: (column: string) => boolean): string | undefined {
  return Object.entries(resource?.codec.attributes ?? {}).find(([column]) => isIt(column))?.[1].description;
}

function uncapitalized(name: string): string {
  return name.charAt(0).toLowerCase() + name.slice(1);
}
