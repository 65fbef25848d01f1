import "graphile-build-pg";
import type { GraphQLSchema, OperationDefinitionNode } from "graphql";

/**
 * Maximum fields of all cached plans together, about 150 MB. Grafast caches up to 500 plans of any size, at some 15 kB per
 * field: wide operations that differ in an alias would fill gigabytes.
 */
const CACHED_FIELDS = 10_000;

/** Number of fields of each operation, recorded when its cost was computed. */
const fieldCounts = new WeakMap<OperationDefinitionNode, number>();

export function noteFieldCount(operation: OperationDefinitionNode, fields: number): void {
  fieldCounts.set(operation, fields);
}

/**
 * Bounds the memory of cached plans by dropping all of them when there are too many, and reports each new plan to the rate
 * limit: planning takes about a tenth of a millisecond per field, execution a fraction of that.
 */
export const PlanCachePlugin: GraphileConfig.Plugin = {
  name: "PlinthPlanCachePlugin",
  version: "1.0.0",
  description: "Bounds the memory of cached plans",
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
          // Grafast creates a new cache when it needs one.
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
