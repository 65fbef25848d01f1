import { SCHEMAS } from "../../database/schemas.ts";
import { PARTITION_MONTHS_AHEAD } from "../../jobs/ensure-partitions.ts";
import {
  type CheckGroup,
  type DoctorContext,
  examinedSchemas,
  type Finding,
  fail,
  ok,
  skipped,
  warn,
} from "./check.ts";

/** Checks row-level security, partitions, and the rows that the cleanup jobs should have deleted. */
export const checkTables: CheckGroup = async (context) => [
  await checkRowSecurity(context),
  await checkPartitions(context),
  await checkMaterializedViews(context),
  ...(await checkBacklog(context)),
];

async function checkRowSecurity({ client, application }: DoctorContext): Promise<Finding> {
  const { rows } = await client.query<{ name: string; secured: boolean }>(
    `select format('%s.%s', n.nspname, c.relname) as name, c.relrowsecurity as secured
     from pg_class c
     join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = any ($1) and c.relkind in ('r', 'p')
     order by 1`,
    [examinedSchemas({ application })],
  );
  if (rows.length === 0)
    return fail("row-security", "The database has no tables yet.", "Run plinth migrate.");
  const open = rows.filter((row) => !row.secured).map((row) => row.name);
  return open.length === 0
    ? ok("row-security", `On for all ${rows.length} tables and partitions.`)
    : fail("row-security", "Off for some tables.", "alter table … enable row level security", open);
}

interface PartitionedTable {
  name: string;
  /** Months with a partition, this month first, up to the first gap. */
  months: number;
  default_has_rows: boolean;
}

async function checkPartitions({ client }: DoctorContext): Promise<Finding> {
  const { rows } = await client.query<PartitionedTable>(
    `with parents as (
       select c.oid, n.nspname, c.relname
       from pg_partitioned_table p
       join pg_class c on c.oid = p.partrelid
       join pg_namespace n on n.oid = c.relnamespace
       where p.partstrat = 'r' and n.nspname = any ($1)
     ), months as (
       select
         p.oid,
         m.number,
         -- By name, because to_regclass() requires privileges on the schema.
         exists (
           select
           from pg_inherits i
           join pg_class c on c.oid = i.inhrelid
           where i.inhparent = p.oid
             and c.relname = p.relname
               || to_char(now() at time zone 'UTC' + make_interval(months => m.number), '_YYYY_MM')
         ) as made
       from parents p
       cross join generate_series(0, $2::integer) as m (number)
     )
     select
       format('%s.%s', p.nspname, p.relname) as name,
       coalesce((select min(m.number) from months m where m.oid = p.oid and not m.made), $2 + 1) as months,
       -- By size, because not all roles may read the rows.
       exists (
         select
         from pg_inherits i
         join pg_class c on c.oid = i.inhrelid
         where i.inhparent = p.oid
           and pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT'
           and pg_relation_size(c.oid) > 0
       ) as default_has_rows
     from parents p
     order by 1`,
    [SCHEMAS, PARTITION_MONTHS_AHEAD],
  );
  const hint = "Keep plinth work (or start) running: its job ensure-partitions creates them.";
  const missing = rows.filter((row) => row.months === 0).map((row) => row.name);
  if (missing.length > 0)
    return fail("partitions", "Some logs have no partition for this month.", hint, missing);
  const short = rows.filter((row) => row.months <= PARTITION_MONTHS_AHEAD).map((row) => row.name);
  if (short.length > 0)
    return warn(
      "partitions",
      `Some logs have partitions for fewer than ${PARTITION_MONTHS_AHEAD} months ahead.`,
      hint,
      short,
    );
  const strays = rows.filter((row) => row.default_has_rows).map((row) => row.name);
  if (strays.length > 0)
    return warn(
      "partitions",
      "Some rows are in default partitions because their month had no partition.",
      hint,
      strays,
    );
  return ok(
    "partitions",
    `All ${rows.length} logs have partitions for ${PARTITION_MONTHS_AHEAD} months ahead.`,
  );
}

/** A view that was never filled, as after a restore of the schema alone, fails each statement that reads it. */
async function checkMaterializedViews({ client, application }: DoctorContext): Promise<Finding> {
  const check = "materialized-views";
  const { rows } = await client.query<{ name: string }>(
    `select format('%s.%s', n.nspname, c.relname) as name
     from pg_class c
     join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = any ($1) and c.relkind = 'm' and not c.relispopulated
     order by 1`,
    [examinedSchemas({ application })],
  );
  return rows.length === 0
    ? ok(check, "Each materialized view can be read.")
    : fail(
        check,
        "Some materialized views are not populated and cannot be read.",
        "Plinth's own are refreshed by the next run of refresh-content-popularity or refresh-subscription-metrics (plinth jobs run …). For others: refresh materialized view … (as the owner).",
        rows.map(({ name }) => name),
      );
}

/** Checks for tokens that the cleanup job has not deleted. Only the owner may count tokens. */
async function checkBacklog({ client, role }: DoctorContext): Promise<Finding[]> {
  const check = "token-backlog";
  if (role !== "owner")
    return [skipped(check, "Only the owner can count expired tokens (PLINTH_OWNER_URL).")];
  const exists = await client.query(
    "select from pg_catalog.pg_tables where schemaname = 'private' and tablename = 'refresh_tokens'",
  );
  if (exists.rowCount === 0) return [];
  const { rows } = await client.query<{ expired: number }>(
    "select count(*)::integer as expired from private.refresh_tokens where expires_at < now() - interval '1 day'",
  );
  const { expired } = rows[0]!;
  return [
    expired === 0
      ? ok(check, "No token has been expired for more than a day.")
      : warn(
          check,
          `${expired} tokens expired more than a day ago.`,
          "Keep plinth work (or start) running: it deletes them.",
        ),
  ];
}
