interface Violation {
  readonly schema?: string | undefined;
  readonly table?: string | undefined;
  readonly column?: string | undefined;
  readonly constraint?: string | undefined;
}

export interface ConstraintColumns {
  readonly schema: string;
  readonly table: string;
  readonly constraint: string;
  readonly isForeignKey: boolean;
  /** GraphQL names of the columns, in the constraint's order. */
  readonly fields: readonly string[];
  /** What the schema says of each field; what may be in it. */
  readonly descriptions?: readonly (string | undefined)[];
}

/** Partitions are named after their table, see private.ensure_partitions; clients know only the table. */
const PARTITION_SUFFIX = /_(\d{4}_\d{2}|default)$/;
/** The owner's id is filled in by the database; where a constraint has another column, that one is at fault. */
const OWNER_FIELD = "userId";

/** Which GraphQL field a violated constraint speaks of; filled when the schema is built, see the constraints plugin. */
export class ConstraintFields {
  readonly #columns = new Map<string, ConstraintColumns>();

  add(columns: ConstraintColumns): void {
    this.#columns.set(`${columns.schema}.${columns.table}.${columns.constraint}`, columns);
  }

  /** The constraint's name, the same for a partition as for its table, the field to blame, and what is said of it. */
  of({ schema, table, constraint }: Violation): {
    constraint?: string | undefined;
    field?: string | undefined;
    description?: string | undefined;
  } {
    if (!table || !constraint) return { constraint };
    const parent = table.replace(PARTITION_SUFFIX, "");
    const name = constraint.startsWith(table) ? parent + constraint.slice(table.length) : constraint;
    const columns = this.#columns.get(`${schema}.${parent}.${name}`);
    if (!columns) return { constraint: name };
    const fields =
      columns.fields.length > 1 ? columns.fields.filter((field) => field !== OWNER_FIELD) : columns.fields;
    // (provider, name) is unique by its name; (chat, owner) refers to a chat.
    const field = columns.isForeignKey ? fields[0] : fields.at(-1);
    const description = columns.descriptions?.[columns.fields.indexOf(field ?? "")];
    return { constraint: name, field, description };
  }

  /** The field of an error that names a column: a missing value, or what one of our functions complains about. */
  columnField({ column }: Violation): string | undefined {
    return column?.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
  }
}
