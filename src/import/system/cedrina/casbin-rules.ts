import { type Context, defineStep } from "../mapping.ts";
import { known } from "./known.ts";

const COLUMNS =
  "ptype, v0, v1, v2, v3, v4, v5, created_at, updated_at, created_by, updated_by, is_active".split(", ");
const listed = (alias: string) => COLUMNS.map((column) => `${alias}.${column}`).join(", ");

/** Rules that the model refuses, by key. */
type Faults = ReadonlyMap<string, string>;

export const casbinRules = defineStep({
  relation: "casbin_rules",
  key: ["id"],
  columns: {
    id: "id",
    ptype: "text",
    v0: "text?",
    v1: "text?",
    v2: "text?",
    v3: "text?",
    v4: "text?",
    v5: "text?",
    created_at: "time?",
    updated_at: "time?",
    created_by: "text?",
    updated_by: "text?",
    is_active: "boolean?",
  },
  targets: [
    {
      sql: "select i.n, i.row_id from private.import_casbin_rules('cedrina', $1) i",
      check: `select i.n
        from jsonb_to_recordset($1) i (n integer, row_id uuid, "values" jsonb)
        cross join lateral jsonb_populate_record(null::access.casbin_rules, i."values") p
        left join access.casbin_rules r on private.casbin_row_id(r.id) = i.row_id
        where (${listed("r")}) is distinct from (${listed("p")})`,
    },
  ],
  async prepare(rows, { client }: Context): Promise<Faults> {
    const rules = rows.map(({ row }) =>
      [row.ptype, row.v0, row.v1, row.v2, row.v3, row.v4, row.v5].filter((value) => value !== null),
    );
    const { rows: faults } = await client.query<{ rule: number; place: string; reason: string }>(
      `select c.rule, c.place, c.reason
       from private.casbin_check(
         coalesce((select m.definition from access.casbin_models m where m.name = 'default'), private.casbin_rbac_model()), $1
       ) c`,
      [JSON.stringify(rules)],
    );
    return new Map(faults.map(({ rule, place, reason }) => [rows[rule - 1]!.key, `${place}: ${reason}`]));
  },
  map(row, faults, { key }) {
    const fault = faults.get(key);
    if (fault !== undefined) return { omitted: fault };
    const createdAt = row.created_at ?? new Date(0).toISOString();
    return {
      values: [
        {
          ...known({ ...row, id: Number(row.id) }),
          created_at: createdAt,
          updated_at: row.updated_at ?? createdAt,
          is_active: row.is_active ?? true,
        },
      ],
    };
  },
});
