import type { PgCodec, PgResource } from "@dataplan/pg";
import type { GraphQLField } from "graphql";
import type { ListCondition } from "../own-rows.ts";

/** Columns that must be equal: of the parent row, and of the row to find. */
export type JoinColumns = readonly (readonly [local: string, remote: string])[];

/** Where PostGraphile takes a field's value from, for the fields that SQL can return as JSON. */
export type FieldSource =
  | {
      readonly kind: "column";
      readonly column: string;
      readonly codec: PgCodec;
      /** Whether the database guarantees that the value is not null. */
      readonly isNeverNull: boolean;
    }
  /** A function, of the row if there is one, that returns a scalar. */
  | { readonly kind: "computed"; readonly resource: PgResource }
  /** The Relay id: base64 of a JSON list of the type's name and the primary key. */
  | {
      readonly kind: "nodeId";
      readonly columns: readonly { readonly name: string; readonly codec: PgCodec }[];
    }
  /** A row by a unique key, by a relation to one row, or returned by a function without arguments. */
  | {
      readonly kind: "row";
      readonly resource: PgResource;
      readonly on: JoinColumns;
      readonly keys: readonly {
        readonly column: string;
        readonly argument: string;
        readonly codec: PgCodec;
      }[];
    }
  | {
      readonly kind: "connection";
      readonly resource: PgResource;
      readonly on: JoinColumns;
      readonly own: ListCondition | undefined;
    }
  /** A field of a connection, an edge or a page info. */
  | { readonly kind: "page"; readonly part: PagePart };

export type PagePart =
  | "nodes"
  | "edges"
  | "pageInfo"
  | "totalCount"
  | "node"
  | "cursor"
  | "hasNextPage"
  | "hasPreviousPage"
  | "startCursor"
  | "endCursor";

/** The operation, or a part of it, has no equivalent in SQL that this compiler knows. */
export class NotCompilable extends Error {}

interface Mark {
  readonly source: FieldSource;
  readonly plan: unknown;
}

/** @throws NotCompilable for a field that is not generated, or whose plan another plugin has replaced since it was marked */
export function sourceOf(field: GraphQLField<unknown, unknown>): FieldSource {
  const { plinthMark: mark, grafast } = field.extensions as {
    plinthMark?: Mark;
    grafast?: { plan?: unknown };
  };
  if (!mark) throw new NotCompilable(`${field.name} is not generated from a table or view.`);
  if (mark.plan !== grafast?.plan) throw new NotCompilable(`The plan of ${field.name} is wrapped.`);
  return mark.source;
}
