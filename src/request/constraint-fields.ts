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
  /** The schema's description of each field. */
  readonly descriptions?: readonly (string | undefined)[];
}

/** A column whose field has another name. */
export interface RenamedColumn {
  readonly schema: string;
  readonly table: string;
  readonly column: string;
  readonly field: string;
}

/** Maps partitions, which are named after their table (see private.ensure_partitions), to the table that clients know. */
const PARTITION_SUFFIX = /_(\d{4}_\d{2}|default)$/;
/** The database fills in the owner's id, so in a constraint with another column, that column is at fault. */
const OWNER_FIELD = "userId";

/** The GraphQL field of each constraint; filled when the schema is built, see the constraints plugin. */
export class ConstraintFields {
  readonly #columns = new Map<string, ConstraintColumns>();
  readonly #renamed = new Map<string, string>();

  add(columns: ConstraintColumns): void {
    this.#columns.set(`${columns.schema}.${columns.table}.${columns.constraint}`, columns);
  }

  rename({ schema, table, column, field }: RenamedColumn): void {
    this.#renamed.set(`${schema}.${table}.${column}`, field);
  }

  /** Returns the constraint's name (the same for a partition as for its table), the field at fault and its description. */
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
    // In (provider, name) the name is at fault; (chat, owner) refers to a chat.
    const field = columns.isForeignKey ? fields[0] : fields.at(-1);
    const description = columns.descriptions?.[columns.fields.indexOf(field ?? "")];
    return { constraint: name, field, description };
  }

  /** Returns the field of an error that names a column: a missing value, or an error raised by one of our functions. */
  columnField({ schema, table, column }: Violation): string | undefined {
    const renamed = this.#renamed.get(`${schema}.${table}.${column}`);
    if (renamed) return renamed;
    return column?.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
  }
}
