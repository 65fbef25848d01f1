import pg from "pg";
import type { Shape, ShapeColumn } from "./shapes.ts";
import { type Value, valuesFor } from "./values.ts";

/** A table that has no row, with the reason. */
export interface MissingRow {
  readonly table: string;
  readonly reason: string;
}

type Row = Readonly<Record<string, unknown>>;

/** Values are changed until no condition complains. */
const MAX_TRIES = 1_000;
const USERS = "identity.users";

/**
 * Makes a row of each table for each owner, with the rows that it requires, from the catalogue. Tables that have rows already, such
 * as those of a seed file, get no more.
 * @param client the owner of the tables, in a transaction
 * @param owners ids of users
 */
export async function makeRows(
  client: pg.ClientBase,
  shapes: ReadonlyMap<string, Shape>,
  tables: readonly string[],
  owners: readonly string[],
): Promise<readonly MissingRow[]> {
  const maker = new RowMaker(client, shapes, new Set(tables));
  const missing: MissingRow[] = [];
  const seeded = new Set<string>();
  for (const table of tables) {
    const { rowCount } = await client.query(`select from ${table} limit 1`);
    if (rowCount) seeded.add(table);
  }
  for (const table of tables)
    for (const owner of owners) {
      if (seeded.has(table)) continue;
      const row = await maker.rowOf(table, owner);
      if (typeof row === "string" && !missing.some((known) => known.table === table))
        missing.push({ table, reason: row });
    }
  return missing;
}

/** Either a row, or the reason for its absence. */
type Made = Row | string;

class RowMaker {
  readonly #client: pg.ClientBase;
  readonly #shapes: ReadonlyMap<string, Shape>;
  readonly #tables: ReadonlySet<string>;
  readonly #made = new Map<string, Promise<Made>>();
  /** Rows whose references are being followed. */
  readonly #underway = new Set<string>();

  constructor(client: pg.ClientBase, shapes: ReadonlyMap<string, Shape>, tables: ReadonlySet<string>) {
    this.#client = client;
    this.#shapes = shapes;
    this.#tables = tables;
  }

  /** Returns the row of this owner, which is made at the first call. */
  rowOf(table: string, owner: string): Promise<Made> {
    const key = `${table} ${owner}`;
    const made = this.#made.get(key) ?? this.#findOrMake(table, owner);
    this.#made.set(key, made);
    return made;
  }

  async #findOrMake(table: string, owner: string): Promise<Made> {
    const shape = this.#shapes.get(table);
    if (!shape) return `${table} is not a table of Plinth or the application`;
    const { rows } = await this.#client.query<{ row: Row; is_own: boolean }>(
      `select to_jsonb(t) as row, strpos(t::text, $1) > 0 as is_own from ${table} t order by 2 desc limit 1`,
      [owner],
    );
    const [found] = rows;
    if (found?.is_own) return found.row;
    const namesUser =
      shape.references.some((reference) => reference.table === USERS) ||
      shape.columns.some(({ isUser }) => isUser);
    // A table without users is the same for all of them, such as a list of countries.
    if (found && !namesUser && !this.#tables.has(table)) return found.row;
    const key = `${table} ${owner}`;
    this.#underway.add(key);
    const known = await this.#knownValues(shape, owner);
    this.#underway.delete(key);
    return typeof known === "string" ? known : this.#insert(shape, known);
  }

  /** The values that foreign keys and users decide. */
  async #knownValues(shape: Shape, owner: string): Promise<ReadonlyMap<string, Value | null> | string> {
    const known = new Map<string, Value | null>();
    const isRequired = (name: string) => shape.columns.find((column) => column.name === name)?.isRequired;
    for (const { name, isUser } of shape.columns) if (isUser) known.set(name, owner);
    // References of several columns last, because they must agree with those of one.
    const references = shape.references.toSorted((a, b) => a.columns.length - b.columns.length);
    for (const { table, columns, foreign } of references) {
      if (columns.every((name) => known.has(name) && table === USERS)) continue;
      const mustHave = columns.some(isRequired);
      if (table === shape.name && !mustHave) continue;
      if (table !== USERS && !mustHave && !this.#tables.has(table)) continue;
      if (this.#underway.has(`${table} ${owner}`)) {
        if (mustHave) return `it and ${table} require each other`;
        continue;
      }
      const parent = table === USERS ? { id: owner } : await this.rowOf(table, owner);
      if (typeof parent === "string") {
        if (mustHave) return `${table} has no row: ${parent}`;
        continue;
      }
      for (const [i, name] of columns.entries()) {
        const value = (parent as Row)[foreign[i]!];
        known.set(name, value == null ? null : String(value));
      }
    }
    return known;
  }

  async #insert(shape: Shape, known: ReadonlyMap<string, Value | null>): Promise<Made> {
    const search = new ValueSearch(shape, known);
    let reason = "no values satisfy its conditions";
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      try {
        await this.#client.query("savepoint made_row");
        const { rows } = await this.#client.query<{ row: Row }>(
          `insert into ${shape.name} as t ${search.valuesClause()} returning to_jsonb(t) as row`,
        );
        await this.#client.query("set constraints all immediate");
        await this.#client.query("set constraints all deferred");
        await this.#client.query("release made_row");
        const [made] = rows;
        return made?.row ?? "a trigger inserts no row";
      } catch (error) {
        await this.#client.query("rollback to made_row");
        if (!(error instanceof pg.DatabaseError)) throw error;
        reason = error.message;
        if (!search.advance(error)) break;
      }
    }
    return reason;
  }
}

/** The values of a row to be, changed one after the other by the errors of PostgreSQL. */
class ValueSearch {
  readonly #shape: Shape;
  readonly #known: ReadonlyMap<string, Value | null>;
  readonly #values = new Map<string, Value[]>();
  /** The place in the values; a column that is missing here has its default. */
  readonly #chosen = new Map<string, number>();

  constructor(shape: Shape, known: ReadonlyMap<string, Value | null>) {
    this.#shape = shape;
    this.#known = known;
    const referring = new Set(shape.references.flatMap(({ columns }) => columns));
    for (const column of shape.columns) {
      if (known.has(column.name) || (referring.has(column.name) && !column.isRequired)) continue;
      this.#values.set(column.name, [...valuesFor(column)]);
      if (column.isRequired) this.#chosen.set(column.name, 0);
    }
  }

  valuesClause(): string {
    const given = this.#shape.columns.flatMap((column) => {
      const text = this.#known.has(column.name)
        ? this.#known.get(column.name)!
        : this.#values.get(column.name)?.[this.#chosen.get(column.name) ?? -1];
      return text === undefined ? [] : [{ column, text }];
    });
    if (given.length === 0) return "default values";
    const names = given.map(({ column }) => pg.escapeIdentifier(column.name)).join(", ");
    const values = given.map(({ column, text }) => literal(column, text)).join(", ");
    return `(${names}) values (${values})`;
  }

  /** Whether there are other values to try. */
  advance(error: pg.DatabaseError): boolean {
    const columns = this.#columnsOf(error).filter((name) => this.#values.has(name));
    if (error.code === "23505") return columns.some((name) => this.#increment(name));
    // A condition on one column says that no row can have this value.
    if (columns.length === 1 && this.#chosen.has(columns[0]!)) return this.#reject(columns[0]!);
    // As the digits of a number: the first column changes fastest.
    for (const name of columns) {
      if (this.#increment(name)) return true;
      this.#reset(name);
    }
    return false;
  }

  #reject(name: string): boolean {
    const values = this.#values.get(name)!;
    const place = this.#chosen.get(name)!;
    values.splice(place, 1);
    if (place >= values.length) this.#reset(name);
    return values.length > 0;
  }

  #increment(name: string): boolean {
    const next = (this.#chosen.get(name) ?? -1) + 1;
    if (next >= this.#values.get(name)!.length) return false;
    this.#chosen.set(name, next);
    return true;
  }

  #reset(name: string): void {
    if (this.#shape.columns.find((column) => column.name === name)?.isRequired) this.#chosen.set(name, 0);
    else this.#chosen.delete(name);
  }

  /** The columns that an error blames. */
  #columnsOf({ code, column, constraint, dataType }: pg.DatabaseError): readonly string[] {
    if (column !== undefined) return [column];
    if (constraint !== undefined && this.#shape.rules[constraint]) return this.#shape.rules[constraint];
    if (dataType !== undefined)
      return this.#shape.columns.filter(({ domain }) => domain === dataType).map(({ name }) => name);
    // A value of a wrong form, which PostgreSQL does not say of which column.
    return code?.startsWith("22") ? this.#shape.columns.map(({ name }) => name) : [];
  }
}

const literal = ({ type }: ShapeColumn, text: Value | null): string =>
  text === null ? "null" : `${pg.escapeLiteral(text)}::${type}`;
