import "graphile-build-pg";

type Behavior = GraphileBuild.Build["behavior"];

/** The methods whose results depend only on their arguments. The first two are private in the types. */
interface PureMethods {
  validateBehavior(entityType: string | null, source: string, text: string): void;
  getPreferencesAppliedBehaviors(entityType: string, inferred: Resolved, override: Resolved): Resolved;
  getBehaviorForEntity(entityType: string, entity: unknown): Resolved;
  entityMatches(entityType: string, entity: unknown, filter: string): boolean | undefined;
  stringMatches(text: string, filter: string): boolean | undefined;
}
interface Resolved {
  readonly behaviorString: string;
}

/** A place in a tree of lists: each branch is the next element. */
interface Place {
  readonly branches: Map<unknown, Place>;
  behavior?: Resolved;
}
const newPlace = (): Place => ({ branches: new Map() });

const remembering = new WeakSet<object>();

/**
 * Remembers what PostGraphile derives from behavior strings. Tables, columns and relations share some 160 of them, but each of
 * 30,000 questions parses strings of up to 5,000 characters again, which took more than half of the time to build the schema.
 * The class is not exported and its instances are frozen, so this changes the methods of their prototype, once per process;
 * each schema has a memory of its own.
 */
export const BehaviorMemoryPlugin: GraphileConfig.Plugin = {
  name: "PlinthBehaviorMemoryPlugin",
  version: "1.0.0",
  description: "Parses each behavior string once",
  schema: {
    hooks: {
      init: {
        // The first plugin that asks for behaviors.
        before: ["PgCodecsPlugin"],
        callback(init, { behavior }) {
          const methods = Object.getPrototypeOf(behavior) as Behavior & PureMethods;
          if (!remembering.has(methods)) rememberResults(methods);
          remembering.add(methods);
          return init;
        },
      },
    },
  },
};

export function rememberResults(methods: PureMethods): void {
  const { validateBehavior, getPreferencesAppliedBehaviors, getBehaviorForEntity, entityMatches } = methods;
  const valid = new WeakMap<object, Map<string, true>>();
  const applied = new WeakMap<object, Map<string, Resolved>>();
  const lists = new WeakMap<object, Map<string, Place>>();
  const matches = new WeakMap<object, Map<string, Map<string, boolean | undefined>>>();

  methods.validateBehavior = function (entityType, source, text) {
    // An invalid text throws each time.
    remember(mapOf(valid, this), text, () => {
      validateBehavior.call(this, entityType, source, text);
      return true;
    });
  };

  // The result's `stack` is that of the first entity with these texts. It only explains them to a developer.
  methods.getPreferencesAppliedBehaviors = function (entityType, inferred, override) {
    const key = [entityType, inferred.behaviorString, override.behaviorString].join("\n");
    return remember(mapOf(applied, this), key, () =>
      getPreferencesAppliedBehaviors.call(this, entityType, inferred, override),
    );
  };

  // An attribute of a table is a list of both, and the original compares it with each list of the schema.
  methods.getBehaviorForEntity = function (entityType, entity) {
    if (!Array.isArray(entity)) return getBehaviorForEntity.call(this, entityType, entity);
    let place = remember(mapOf(lists, this), entityType, newPlace);
    for (const element of entity) place = remember(place.branches, element, newPlace);
    place.behavior ??= getBehaviorForEntity.call(this, entityType, entity);
    return place.behavior;
  };

  methods.entityMatches = function (entityType, entity, filter) {
    const { behaviorString } = this.getBehaviorForEntity(entityType, entity);
    const answers = remember(mapOf(matches, this), `${entityType} ${filter}`, () => new Map());
    return remember(answers, behaviorString, () =>
      // The first time, the original also checks that the filter is registered for the type.
      answers.size === 0
        ? entityMatches.call(this, entityType, entity, filter)
        : this.stringMatches(behaviorString, filter),
    );
  };
}

function mapOf<V>(maps: WeakMap<object, Map<string, V>>, owner: object): Map<string, V> {
  let map = maps.get(owner);
  if (!map) {
    map = new Map();
    maps.set(owner, map);
  }
  return map;
}

function remember<K, V>(map: Map<K, V>, key: K, compute: () => V): V {
  if (map.has(key)) return map.get(key) as V;
  const value = compute();
  map.set(key, value);
  return value;
}
