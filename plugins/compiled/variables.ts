import type { PgCodec } from "@dataplan/pg";
import {
  type ASTNode,
  type FieldNode,
  GraphQLError,
  type GraphQLField,
  GraphQLIncludeDirective,
  GraphQLSkipDirective,
  getArgumentValues,
  getDirectiveValues,
  Kind,
  type SelectionNode,
  type VariableNode,
  visit,
} from "graphql";
import { type SQL, sql } from "pg-sql2";
import { NotCompilable } from "./field-source.ts";

/** The place of a variable among a statement's values. */
export class BoundVariable {
  readonly name: string;
  readonly #codec: PgCodec;

  constructor(name: string, codec: PgCodec) {
    this.name = name;
    this.#codec = codec;
  }

  /** @throws GraphQLError for null, which a variable with a default can be although the argument is required */
  valueOf(variables: Readonly<Record<string, unknown>>): unknown {
    const value = variables[this.name];
    if (value == null) throw new GraphQLError(`$${this.name} must not be null.`);
    return this.#codec.toPg(value);
  }
}

/** The variables of a request, and where the statement has a place for them. */
export class Variables {
  readonly #values: Record<string, unknown>;
  readonly #bound = new Set<VariableNode>();

  constructor(values: Readonly<Record<string, unknown>>) {
    this.#values = { ...values };
  }

  argumentsOf(field: GraphQLField<unknown, unknown>, node: FieldNode): Record<string, unknown> {
    return getArgumentValues(field, node, this.#values);
  }

  /** Whether a selection is in the response, see @skip and @include. */
  includes(selection: SelectionNode): boolean {
    for (const { name } of selection.directives ?? [])
      if (name.value !== "skip" && name.value !== "include")
        throw new NotCompilable(`@${name.value} is for PostGraphile.`);
    const values = this.#values;
    return (
      getDirectiveValues(GraphQLSkipDirective, selection, values)?.if !== true &&
      getDirectiveValues(GraphQLIncludeDirective, selection, values)?.if !== false
    );
  }

  /** A required argument that the text does not depend on: a variable is bound. */
  bind(field: GraphQLField<unknown, unknown>, node: FieldNode, argument: string, codec: PgCodec): SQL {
    const given = node.arguments?.find(({ name }) => name.value === argument)?.value;
    if (given?.kind === Kind.VARIABLE) {
      this.#bound.add(given);
      const place = new BoundVariable(given.name.value, codec);
      // pg-sql2 returns the values of a statement as they are.
      return sql`${sql.value(place as never)}::${codec.sqlType}`;
    }
    const value = this.argumentsOf(field, node)[argument];
    return sql`${sql.value(value == null ? null : codec.toPg(value))}::${codec.sqlType}`;
  }

  /** Names of the variables that a document uses elsewhere than in such a place. */
  readIn(definitions: readonly ASTNode[]): ReadonlySet<string> {
    const names = new Set<string>();
    for (const definition of definitions)
      visit(definition, {
        VariableDefinition: () => false,
        Variable: (node) => {
          if (!this.#bound.has(node)) names.add(node.name.value);
        },
      });
    return names;
  }
}
