import "postgraphile";
import type { GraphQLSchema, OperationDefinitionNode } from "postgraphile/graphql";

/**
 * Grafast keeps a plan of every operation, up to 500 of any size, and a plan takes some 15 kB a field: wide operations
 * that differ in an alias would fill gigabytes. All plans together may have this many fields, about 150 MB.
 */
const CACHED_FIELDS = 10_000;

/** Fields of an operation, noted when its cost was computed. */
const fieldCounts = new WeakMap<OperationDefinitionNode, number>();

export function noteFieldCount(operation: OperationDefinitionNode, fields: number): void {
  fieldCounts.set(operation, fields);
}

/**
 * Bounds the memory that plans take by forgetting all of them when they have become too many, and tells whoever counts
 * requests about each plan made: making one takes about a tenth of a millisecond a field, running it a fraction.
 */
export const PlanCachePlugin: GraphileConfig.Plugin = {
  name: "PlinthPlanCachePlugin",
  version: "1.0.0",
  description: "Bounds the memory that plans take",
  grafast: {
    middleware: {
      establishOperationPlan(next, event) {
        const plan = next();
        const cache = cacheOf(event.schema);
        if (cache.known.has(plan)) return plan;
        cache.known.add(plan);
        const fields = fieldCounts.get(event.operation) ?? 1;
        (event.context as Partial<Grafast.Context>).plinth?.onPlan?.(fields);
        cache.fields += fields;
        if (cache.fields > CACHED_FIELDS) {
          // Grafast makes another when it needs one.
          (event.schema.extensions as { grafast?: object }).grafast = {};
          caches.delete(event.schema);
        }
        return plan;
      },
    },
  },
};

interface PlanCache {
  fields: number;
  readonly known: WeakSet<object>;
}

const caches = new WeakMap<GraphQLSchema, PlanCache>();

function cacheOf(schema: GraphQLSchema): PlanCache {
  const cache = caches.get(schema) ?? { fields: 0, known: new WeakSet() };
  caches.set(schema, cache);
  return cache;
}
