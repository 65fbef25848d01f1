import { enumCodec, type PgEnumCodec } from "@dataplan/pg";
import type { PgAttribute, PgConstraint, PgType } from "pg-introspection";
import { sql } from "pg-sql2";
import { closedListOf, meaningsOf } from "./closed-list.ts";

export type EnumCodec = PgEnumCodec<string, string>;

/** A CHECK that lists values, by its column or domain: `llm.messages.state`, `access.verdict`. */
interface ClosedList {
  readonly values: readonly string[];
  readonly constraint: PgConstraint;
  /** Name of the type, unless the constraint's comment has the smart tag @name. */
  readonly name: string;
  readonly description: string | undefined;
}

declare global {
  namespace DataplanPg {
    interface PgCodecExtensions {
      /** Whether an enum's values are texts that a CHECK lists, rather than a type of PostgreSQL. */
      isClosedListOfText?: boolean;
    }
  }
}

interface Naming {
  singularize(text: string): string;
  camelCase(text: string): string;
}

/** GraphQL reserves these. */
const NOT_NAMES = new Set(["true", "false", "null"]);

/** The enum types of one database, by the column or domain whose constraint lists the values. */
export class EnumCodecs {
  readonly #lists = new Map<string, ClosedList>();
  readonly #codecs = new Map<string, EnumCodec>();
  readonly #naming: Naming;

  /** @param definitions from pg_get_constraintdef, by the oid of the constraint */
  constructor(
    constraints: readonly PgConstraint[],
    definitions: ReadonlyMap<string, string>,
    naming: Naming,
  ) {
    this.#naming = naming;
    for (const constraint of constraints) {
      const values = closedListOf(definitions.get(constraint._id) ?? "");
      const subject = values && haveNames(values) && subjectOf(constraint);
      if (subject) this.#add({ ...subject, values, constraint });
    }
  }

  /** The enum of a column: of its constraint, or the one that its smart tag @values names. */
  ofColumn(attribute: PgAttribute): EnumCodec | undefined {
    const { values: named } = attribute.getTagsAndDescription().tags;
    return typeof named === "string" ? this.named(named) : this.#codecOf(pathOf(attribute));
  }

  ofDomain(type: PgType): EnumCodec | undefined {
    return this.#codecOf(`${type.getNamespace()?.nspname}.${type.typname}`);
  }

  /**
   * @param path the column or domain whose constraint lists the values, with its schema
   * @throws if there is no such constraint, so that a renamed column does not silently become String
   */
  named(path: string): EnumCodec {
    const codec = this.#codecOf(path);
    if (!codec)
      throw new Error(`@values ${path}: no validated CHECK of this column or domain lists its values.`);
    return codec;
  }

  #add({ path, ...list }: ClosedList & { readonly path: string }): void {
    const other = this.#lists.get(path);
    // Two lists for one column allow only what both allow.
    const values = other ? list.values.filter((value) => other.values.includes(value)) : list.values;
    this.#lists.set(path, { ...list, values });
  }

  #codecOf(path: string): EnumCodec | undefined {
    const list = this.#lists.get(path);
    if (!list) return undefined;
    const { tags, description } = list.constraint.getTagsAndDescription();
    const name = this.#naming.camelCase(typeof tags.name === "string" ? tags.name : this.#nameOf(list.name));
    const known = this.#codecs.get(name);
    if (known) return assertEqual(known, list.values, path);
    const codec = this.#make(name, list, description);
    this.#codecs.set(name, codec);
    return codec;
  }

  /** messages.state is MessageState; a word that ends the table and begins the column appears once: PromptType. */
  #nameOf(name: string): string {
    const [table = "", column] = name.split(".");
    if (!column) return table;
    const words = this.#naming.singularize(table).split("_");
    const [first, ...others] = column.split("_");
    const isRepeated = others.length > 0 && first === words.at(-1);
    return [...words, ...(isRepeated ? [] : [first]), ...others].join("_");
  }

  #make(name: string, { values, description }: ClosedList, comment: string | undefined): EnumCodec {
    const meanings = meaningsOf(comment, values);
    const codec = enumCodec({
      name,
      identifier: sql`text`,
      description: meanings.list ?? description,
      extensions: { isClosedListOfText: true },
      values: values.map((value) => ({ value, description: meanings.ofValue.get(value) })),
    });
    // Ordered as the texts that they are.
    return { ...codec, hasNaturalOrdering: true };
  }
}

/** The name of a value: characters that GraphQL does not allow become `_` (`a-b` is `a_b`, `2nd` is `_2nd`). */
export function nameOfValue(value: string): string {
  const name = value.replace(/\W/g, "_");
  return /^[A-Za-z_]/.test(name) ? name : `_${name}`;
}

/** Whether each value has a name of its own. */
function haveNames(values: readonly string[]): boolean {
  const names = values.map(nameOfValue);
  return new Set(names).size === names.length && !names.some((name) => NOT_NAMES.has(name));
}

function pathOf(attribute: PgAttribute): string {
  const table = attribute.getClass();
  return `${table?.getNamespace()?.nspname}.${table?.relname}.${attribute.attname}`;
}

function subjectOf(constraint: PgConstraint) {
  const domain = constraint.getType?.();
  if (domain) {
    const path = `${domain.getNamespace()?.nspname}.${domain.typname}`;
    return { path, name: domain.typname, description: domain.getDescription() };
  }
  const [attribute, ...others] = constraint.getAttributes() ?? [];
  if (!attribute || others.length > 0) return undefined;
  return {
    path: pathOf(attribute),
    name: `${attribute.getClass()?.relname}.${attribute.attname}`,
    description: attribute.getTagsAndDescription().description || undefined,
  };
}

/** A type that several columns share by @name has the same values for all of them. */
function assertEqual(codec: EnumCodec, values: readonly string[], path: string): EnumCodec {
  const known = new Set(codec.values.map(({ value }) => value));
  if (known.size === values.length && values.every((value) => known.has(value))) return codec;
  throw new Error(
    `The values of ${path} differ from those of another enum named ${codec.name}: give it a @name.`,
  );
}
