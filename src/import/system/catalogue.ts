import type pg from "pg";

/** The structure of a table that an import writes to. */
export interface TableShape {
  readonly table: string;
  readonly primaryKey: readonly string[];
  readonly hasId: boolean;
}

/** Returns a function that reads the shape of a table once. */
export function createShapes(client: pg.ClientBase): (table: string) => Promise<TableShape> {
  const shapes = new Map<string, TableShape>();
  return async (table) => {
    const known = shapes.get(table);
    if (known) return known;
    const { rows } = await client.query<{ key: string[]; has_id: boolean }>(
      `select
         array(
           select a.attname::text from pg_index i
           join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
           where i.indrelid = $1::regclass and i.indisprimary
           order by array_position(i.indkey::smallint[], a.attnum)
         ) as key,
         exists (select from pg_attribute a where a.attrelid = $1::regclass and a.attname = 'id' and a.atttypid = 'uuid'::regtype)
           as has_id`,
      [table],
    );
    const shape = { table, primaryKey: rows[0]!.key, hasId: rows[0]!.has_id };
    shapes.set(table, shape);
    return shape;
  };
}
