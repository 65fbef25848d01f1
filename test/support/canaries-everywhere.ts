import pg from "pg";
import { CANARY, CANARY_ADDRESS } from "./canaries.ts";

/** A network address of each family, half of the rows each. */
export const CANARY_ADDRESSES = [CANARY_ADDRESS, "2001:db8:7:7:7:7:7:7"] as const;

/** Expressions to fill a column with, over its row `t`, by the column's type; the row's place makes values unique. */
function fillings(): Readonly<Record<string, readonly string[]>> {
  const unique = `'${CANARY}' || translate(t.ctid::text, '(,)', '')`;
  const texts = [`${unique} || '@example.com'`, unique, `'https://' || ${unique} || '.example.com'`];
  const address = `('{${CANARY_ADDRESSES}}'::inet[])[1 + (t.ctid::text::point)[1]::integer % 2]`;
  return {
    text: texts,
    varchar: texts,
    _text: [`array[${unique}]`],
    inet: [address],
    _cidr: [`array[${address}::cidr]`],
    jsonb: [
      `jsonb_build_object('canary', ${unique}, 'ip_address', ${address})`,
      `jsonb_build_array(${unique})`,
    ],
    json: [`json_build_object('canary', ${unique})`],
    bytea: [`convert_to(rpad(${unique}, 32, '.'), 'UTF8')`],
  };
}

/** In the database, because it tries thousands of updates. A constraint may allow a value in one row and not in another. */
const plant = (values: string, only: string) => `
  set constraints all immediate;
  create temporary table planted (name text) on commit drop;
  do $plant$
  declare
    v record;
    v_row record;
    v_rows bigint;
  begin
    for v in
      select c.oid::regclass::text as relation, a.attname as name, array_agg(f.value order by f.n) as fillings
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
      join pg_type t on t.oid = a.atttypid
      join (values ${values}) f (type, n, value) on f.type = t.typname
      where c.relkind in ('r', 'p') and not c.relispartition and c.relowner = current_user::regrole
        and n.nspname not in ('plinth_jobs', 'plinth_migrate') and n.nspname !~ '^pg_'
        and (${only})
      group by c.oid, a.attnum, a.attname
      order by c.oid::regclass::text, a.attnum
    loop
      for i in 1 .. cardinality(v.fillings) loop
        begin
          execute format('update %s t set %I = %s', v.relation, v.name, v.fillings[i]);
          get diagnostics v_rows = row_count;
        exception when others then
          v_rows := 0;
          for v_row in execute format('select array_agg(tableoid) as tables, array_agg(ctid) as places from %s', v.relation) loop
            for k in 1 .. coalesce(cardinality(v_row.places), 0) loop
              begin
                execute format('update %s t set %I = %s where t.tableoid = $1 and t.ctid = $2', v.relation, v.name, v.fillings[i])
                  using v_row.tables[k], v_row.places[k];
                v_rows := v_rows + 1;
              exception when others then
              end;
            end loop;
          end loop;
        end;
        if v_rows > 0 then
          insert into pg_temp.planted values (v.relation || '.' || v.name);
          exit;
        end if;
      end loop;
    end loop;
  end
  $plant$`;

/**
 * Plants canaries in every column of every row of Plinth's tables that can hold a text, an address or a token, wherever the
 * constraints accept one. Returns the columns as `table.column`. Runs as the owner of the tables, with triggers and constraints on.
 * @param only a condition on a column `a` of a table `c` in a schema `n`
 */
export async function plantCanariesEverywhere(client: pg.ClientBase, only = "true"): Promise<string[]> {
  const values = Object.entries(fillings()).flatMap(([type, expressions]) =>
    expressions.map((value, n) => `('${type}', ${n}, ${pg.escapeLiteral(value)})`),
  );
  await client.query("begin; set local search_path = pg_catalog");
  await client.query(plant(values.join(", "), only));
  const { rows } = await client.query<{ name: string }>("select name from pg_temp.planted");
  await client.query("commit");
  return rows.map(({ name }) => name);
}
