import "graphile-build-pg";
import { listOfCodec, type PgCodec, withPgClientFromPgService } from "@dataplan/pg";
import { gatherConfig } from "graphile-build";
import type { PgProc } from "pg-introspection";
import { type EnumCodec, EnumCodecs, nameOfValue } from "./enum-codecs.ts";

declare global {
  namespace GraphileConfig {
    interface Plugins {
      PlinthEnumsPlugin: true;
    }
    interface GatherHelpers {
      plinthEnums: { codecs(serviceName: string): Promise<EnumCodecs> };
    }
  }
}

interface State {
  readonly codecs: Map<string, Promise<EnumCodecs>>;
}

const DOMAIN = "d";

/** The text codec of a column or argument is replaced; PostGraphile makes a GraphQL enum and its filter of the new one. */
const replaced = (codec: PgCodec, by: EnumCodec): PgCodec => (codec.arrayOfCodec ? listOfCodec(by) : by);

/**
 * Text columns whose CHECK lists the allowed values are enums:
 *
 *   create table llm.messages (state text check (state in ('streaming', 'complete')), …)
 *   enum MessageState { streaming complete }
 *
 * Views, composite types, functions and columns without a constraint of their own name the column or domain that has it: the smart
 * tag `@values llm.messages.state` on a column, `@values role rooms.room_members.role` on a function for an argument or a column of
 * its result. Safe to disable: all of them are String.
 */
export const EnumsPlugin: GraphileConfig.Plugin = {
  name: "PlinthEnumsPlugin",
  version: "1.0.0",
  description: "Makes enums of the values that constraints list",
  inflection: {
    replace: {
      enumValue: (previous, _options, value, codec) =>
        codec.extensions?.isClosedListOfText ? nameOfValue(value) : previous!(value, codec),
    },
  },
  gather: gatherConfig({
    namespace: "plinthEnums",
    initialState: (): State => ({ codecs: new Map() }),
    helpers: {
      codecs({ state, helpers, inflection, resolvedPreset }, serviceName) {
        const known = state.codecs.get(serviceName);
        if (known) return known;
        const made = (async () => {
          const pgService = resolvedPreset.pgServices!.find(({ name }) => name === serviceName)!;
          const [database, definitions] = await Promise.all([
            helpers.pgIntrospection.getIntrospection(),
            readDefinitions(pgService),
          ]);
          const { introspection } = database.find((each) => each.pgService === pgService)!;
          return new EnumCodecs(introspection.constraints, definitions, inflection);
        })();
        state.codecs.set(serviceName, made);
        return made;
      },
    },
    hooks: {
      async pgCodecs_attribute({ helpers }, { serviceName, pgAttribute, attribute }) {
        const codec = (await helpers.plinthEnums.codecs(serviceName)).ofColumn(pgAttribute);
        if (codec) attribute.codec = replaced(attribute.codec, codec);
      },
      async pgCodecs_findPgCodec({ helpers }, event) {
        if (event.pgType.typtype !== DOMAIN) return;
        const codec = (await helpers.plinthEnums.codecs(event.serviceName)).ofDomain(event.pgType);
        if (codec) event.pgCodec = codec;
      },
      async pgProcedures_PgResourceOptions({ helpers }, { serviceName, pgProc, resourceOptions }) {
        const tags = tagsOf(pgProc);
        if (tags.size === 0) return;
        const codecs = await helpers.plinthEnums.codecs(serviceName);
        const { codec } = resourceOptions;
        const columns: Record<string, { codec: PgCodec }> = (codec.isAnonymous && codec.attributes) || {};
        for (const [name, path] of tags) {
          const places: { codec: PgCodec }[] =
            resourceOptions.parameters?.filter((each) => each.name === name) ?? [];
          if (columns[name]) places.push(columns[name]);
          if (places.length === 0)
            throw new Error(`@values ${name} ${path}: ${pgProc.proname} has no ${name}.`);
          for (const place of places) place.codec = replaced(place.codec, codecs.named(path));
        }
      },
    },
  }),
  schema: {
    entityBehavior: {
      pgCodecAttribute: {
        inferred: {
          // PostGraphile orders by no enum; these are ordered as the texts that they are, where an index allows it.
          after: ["default"],
          before: ["inferred", "override"],
          callback: (behavior, [codec, name]) =>
            codec.attributes[name]?.codec.extensions?.isClosedListOfText
              ? [behavior, "attribute:orderBy"]
              : behavior,
        },
      },
    },
  },
};

/** The smart tags `@values name path` of a function, as path by name. */
function tagsOf(pgProc: PgProc): ReadonlyMap<string, string> {
  const { values = [] } = pgProc.getTagsAndDescription().tags;
  return new Map(
    [values].flat().map((value) => {
      const [name = "", path = ""] = String(value).split(/\s+/);
      return [name, path];
    }),
  );
}

/** pg_get_constraintdef by the oid of the constraint; the introspection does not contain it. */
async function readDefinitions(
  pgService: GraphileConfig.PgServiceConfiguration,
): Promise<ReadonlyMap<string, string>> {
  const { rows } = await withPgClientFromPgService(pgService, null, (client) =>
    client.query<{ oid: string; definition: string }>({
      text: `
        select k.oid::text, pg_get_constraintdef(k.oid, true) as definition
        from pg_catalog.pg_constraint k
        where k.contype = 'c' and (cardinality(k.conkey) = 1 or k.contypid <> 0)`,
    }),
  );
  return new Map(rows.map(({ oid, definition }) => [oid, definition]));
}
