import "graphile-build-pg";
import type { PgResource } from "@dataplan/pg";
import { listConditionOf } from "../own-rows.ts";
import type { FieldSource, JoinColumns, PagePart } from "./field-source.ts";

type Build = GraphileBuild.Build;
type Context = GraphileBuild.ContextObjectFieldsField;
type Scope = GraphileBuild.ScopeObjectFieldsField;

const CONNECTION_PARTS = new Set<PagePart>(["nodes", "edges", "pageInfo", "totalCount"]);
const EDGE_PARTS = new Set<PagePart>(["node", "cursor"]);
const PAGE_INFO_PARTS = new Set<PagePart>(["hasNextPage", "hasPreviousPage", "startCursor", "endCursor"]);

/** Returns the source of a generated field, or undefined for all others. */
export function findSource(build: Build, { scope, Self }: Context): FieldSource | undefined {
  const { fieldName } = scope;
  const part = fieldName as PagePart;
  if (scope.isPgClassType && scope.pgFieldAttribute) return column(scope);
  if (scope.isConnectionType && CONNECTION_PARTS.has(part)) return { kind: "page", part };
  if (scope.isConnectionEdgeType && EDGE_PARTS.has(part)) return { kind: "page", part };
  if (scope.isPageInfo && PAGE_INFO_PARTS.has(part)) return { kind: "page", part };
  if (fieldName === build.inflection.nodeIdFieldName()) return nodeId(build, scope, Self.name);
  switch (scope.fieldBehaviorScope) {
    case "query:resource:single":
      return rowByKey(build, scope);
    case "query:resource:connection":
      return isPlain(scope.pgFieldResource)
        ? { kind: "connection", resource: scope.pgFieldResource, on: [], own: listConditionOf(scope) }
        : undefined;
    case "singularRelation:resource:single":
    case "manyRelation:resource:connection":
      return related(scope);
    case "typeField:single":
      return computed(build, scope);
    case "queryField:single":
      return called(build, scope);
    default:
      return undefined;
  }
}

/** Whether rows come from a table or view as they are. */
function isPlain(resource: unknown): resource is PgResource {
  if (!resource) return false;
  const { from, parameters, codec } = resource as PgResource;
  const { selectAuth, isVirtual } = resource as { selectAuth?: unknown; isVirtual?: boolean };
  return (
    typeof from === "object" &&
    !parameters &&
    !selectAuth &&
    !isVirtual &&
    codec.attributes !== undefined &&
    !codec.polymorphism
  );
}

function column({ pgCodec, pgFieldAttribute }: Scope): FieldSource | undefined {
  if (!pgFieldAttribute || pgFieldAttribute.via || pgFieldAttribute.expression) return undefined;
  const name = Object.entries(pgCodec?.attributes ?? {}).find(([, each]) => each === pgFieldAttribute)?.[0];
  if (name === undefined) return undefined;
  const { codec, notNull = false, extensions } = pgFieldAttribute;
  // The tag is a promise of a view, which PostgreSQL does not check.
  const isNeverNull = notNull && extensions?.tags?.notNull === undefined;
  return { kind: "column", column: name, codec, isNeverNull };
}

function rowByKey(build: Build, { pgFieldResource: resource, pgFieldResourceUnique: unique }: Scope) {
  if (!isPlain(resource) || !unique) return undefined;
  const { codec } = resource;
  const keys = unique.attributes.map((attributeName: string) => ({
    column: attributeName,
    argument: build.inflection.attribute({ attributeName, codec: codec as never }),
    codec: codec.attributes![attributeName]!.codec,
  }));
  return { kind: "row", resource, on: [], keys } as const;
}

function related(scope: Scope): FieldSource | undefined {
  const { pgRelationDetails, fieldBehaviorScope } = scope;
  if (!pgRelationDetails) return undefined;
  const { registry, codec, relationName } = pgRelationDetails;
  const relation = registry.pgRelations[codec.name]?.[relationName as string];
  if (!relation || !isPlain(relation.remoteResource)) return undefined;
  const { localAttributes, remoteAttributes, remoteResource: resource } = relation;
  const on: JoinColumns = localAttributes.map((local, i) => [String(local), String(remoteAttributes[i])]);
  return fieldBehaviorScope === "singularRelation:resource:single"
    ? { kind: "row", resource, on, keys: [] }
    : { kind: "connection", resource, on, own: listConditionOf(scope) };
}

function computed(build: Build, { fieldName, pgCodec }: Scope): FieldSource | undefined {
  const resource = findFunction(
    build,
    (each) =>
      each.parameters?.[0]?.codec === pgCodec &&
      build.inflection.computedAttributeField({ resource: each as never }) === fieldName,
  );
  const isOfRowOnly = resource?.parameters?.length === 1 && !resource.codec.attributes;
  return isOfRowOnly ? { kind: "computed", resource } : undefined;
}

/** A function without arguments that returns one row or value, such as the current user. */
function called(build: Build, { fieldName }: Scope): FieldSource | undefined {
  const resource = findFunction(
    build,
    (each) => build.inflection.customQueryField({ resource: each as never }) === fieldName,
  );
  if (resource?.parameters?.length !== 0 || resource.codec.polymorphism) return undefined;
  if (!resource.codec.attributes) return { kind: "computed", resource };
  return { kind: "row", resource, on: [], keys: [] };
}

/** PostGraphile does not put a function into the scope, so it is found by its name. */
function findFunction(build: Build, matches: (resource: PgResource) => boolean): PgResource | undefined {
  return (Object.values(build.pgResources) as PgResource[]).find(
    (each) => typeof each.from === "function" && each.isUnique && !each.isMutation && matches(each),
  );
}

function nodeId(build: Build, { pgCodec }: Scope, typeName: string): FieldSource | undefined {
  const handler = build.getNodeIdHandler?.(typeName);
  if (!pgCodec?.attributes || handler?.codec.name !== "base64JSON" || !handler.match([typeName]))
    return undefined;
  const primary = build.pgTableResource(pgCodec)?.uniques.find(({ isPrimary }) => isPrimary);
  if (!primary) return undefined;
  const columns = primary.attributes.map((name: string) => ({
    name,
    codec: pgCodec.attributes![name]!.codec,
  }));
  return { kind: "nodeId", columns };
}
