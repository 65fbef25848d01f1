import { createRequire } from "node:module";
import type pg from "pg";
import { getConstructionPlans, getMigrationPlans, type MigrationPartition, type Queue } from "pg-boss";
import { PlinthError } from "../support/errors.ts";
import { queueOn } from "./job-queue.ts";
import { FORMER_JOB_SCHEMA, JOB_SCHEMA } from "./schemas.ts";

/** The version of pg-boss's tables that the installed pg-boss needs. */
export const BOSS_SCHEMA_VERSION: number = createRequire(import.meta.url)("pg-boss/package.json").pgboss
  .schema;

/**
 * Installs or upgrades the job queue's schema as its owner, creates the queues and lets the worker use them, so that the
 * worker needs no privilege to create objects. Running it again changes nothing and takes milliseconds.
 * @throws PlinthError JOB_SCHEMA_AHEAD when a newer pg-boss has upgraded the schema, QUEUE_CHANGED when a queue's policy
 *   or partitioning differs, which pg-boss cannot change
 */
export async function installJobSchema(
  client: pg.ClientBase,
  options: {
    workerRole: string;
    queues: readonly Queue[];
    log?: (line: string) => void;
  },
): Promise<void> {
  await upgradeSchema(client, options.log ?? (() => {}));
  await makeQueues(client, options.queues);
  await grantToWorker(client, options.workerRole);
}

async function upgradeSchema(client: pg.ClientBase, log: (line: string) => void): Promise<void> {
  const installed = await jobSchemaVersion(client);
  if (installed === BOSS_SCHEMA_VERSION) return;
  if (installed === undefined) {
    await runPlan(client, getConstructionPlans(JOB_SCHEMA));
    log("Installed the job queue's schema.");
    return;
  }
  await runPlan(client, await jobSchemaUpgrade(client, installed));
  log(`Upgraded the job queue's schema from version ${installed} to ${BOSS_SCHEMA_VERSION}.`);
}

/**
 * Returns the statements, with their transaction, that upgrade the job queue's schema from a version.
 * @throws PlinthError JOB_SCHEMA_AHEAD
 */
export async function jobSchemaUpgrade(client: pg.ClientBase, installed: number): Promise<string> {
  if (installed > BOSS_SCHEMA_VERSION)
    throw new PlinthError(
      "JOB_SCHEMA_AHEAD",
      `The job queue's schema is at version ${installed}, but this version of Plinth needs ${BOSS_SCHEMA_VERSION}.`,
      { hint: "Use the newer version that upgraded it." },
    );
  const { rows } = await client.query<MigrationPartition>(
    `select table_name as "tableName", policy from ${JOB_SCHEMA}.queue where partition`,
  );
  return inOneTransaction(getMigrationPlans(JOB_SCHEMA, installed, { partitionTables: rows }));
}

export interface InstalledJobSchema {
  readonly schema: typeof JOB_SCHEMA | typeof FORMER_JOB_SCHEMA;
  /** pg-boss's number of its tables' structure. */
  readonly version: number;
}

/** Returns the version of the job queue's schema, or undefined if it is not installed. */
export async function jobSchemaVersion(client: pg.ClientBase): Promise<number | undefined> {
  const found = await client.query(
    "select from pg_catalog.pg_tables where schemaname = $1 and tablename = 'version'",
    [JOB_SCHEMA],
  );
  return found.rowCount === 0 ? undefined : readVersion(client, JOB_SCHEMA);
}

/** Also finds the queue under its former name, which the migration own-schema-names changes. */
export async function findJobSchema(client: pg.ClientBase): Promise<InstalledJobSchema | undefined> {
  const version = await jobSchemaVersion(client);
  if (version !== undefined) return { schema: JOB_SCHEMA, version };
  const { rowCount } = await client.query(
    `select from pg_catalog.pg_policies p
     join pg_catalog.pg_class c on c.relname = p.tablename and c.relnamespace = p.schemaname::pg_catalog.regnamespace
     where p.schemaname = $1 and p.tablename = 'queue' and p.policyname = 'insert_worker'
       and pg_catalog.pg_has_role(c.relowner, 'usage')`,
    [FORMER_JOB_SCHEMA],
  );
  const former = rowCount === 1 ? await readVersion(client, FORMER_JOB_SCHEMA) : undefined;
  return former === undefined ? undefined : { schema: FORMER_JOB_SCHEMA, version: former };
}

async function readVersion(client: pg.ClientBase, schema: string): Promise<number | undefined> {
  const { rows } = await client.query<{ version: number }>(`select version from ${schema}.version`);
  return rows[0]?.version;
}

/**
 * The plan commits and then builds indexes one by one, concurrently. If it were interrupted, indexes would be missing permanently.
 * Job tables are small and upgrades are rare, so everything runs in one transaction here. (A running pg-boss would leave the
 * indexes to the worker, which may not build any.)
 */
function inOneTransaction(plan: string): string {
  const [changes, ...builds] = plan.split(/^(?=-- inlined from )/m);
  const inside = builds.join("").replaceAll(/\bINDEX CONCURRENTLY\b/g, "INDEX");
  return changes!.replace(/\bCOMMIT;\s*$/, () => `${inside}\nCOMMIT;`);
}

/**
 * A plan opens and closes its own transaction; a plan that fails leaves it open. Its lock timeout of 30 s would make all jobs wait
 * that long, so the session's applies.
 */
async function runPlan(client: pg.ClientBase, sql: string): Promise<void> {
  try {
    await client.query(sql.replace(/SET LOCAL lock_timeout = \d+;/, ""));
  } catch (error) {
    await client.query("rollback");
    throw error;
  }
}

async function makeQueues(client: pg.ClientBase, queues: readonly Queue[]): Promise<void> {
  const boss = queueOn(client);
  // A dead letter queue must exist before a queue can name it.
  const ordered = queues.toSorted((a, b) => Number(!!a.deadLetter) - Number(!!b.deadLetter));
  const existing = new Map((await boss.getQueues()).map((queue) => [queue.name, queue]));
  for (const { name, ...options } of ordered) {
    const queue = existing.get(name);
    if (!queue) {
      await boss.createQueue(name, options);
      continue;
    }
    const { policy = "standard", partition = false, ...changeable } = options;
    if (queue.policy !== policy || queue.partition !== partition)
      throw new PlinthError(
        "QUEUE_CHANGED",
        `The queue ${name} exists with policy ${queue.policy}${queue.partition ? ", partitioned" : ""}, which cannot be changed.`,
        { hint: "Rename the changed queue." },
      );
    const differs = Object.entries(changeable).some(([key, value]) => queue[key as keyof Queue] !== value);
    if (differs) await boss.updateQueue(name, changeable);
  }
}

/**
 * The worker may write jobs, schedules and statistics, and creates pg-boss's scheduling queue when it starts. It may not change a
 * queue's structure, create a queue with its own table, or write to `bam`: the contents of `bam` and `queue.table_name` become
 * part of statements that the owner runs during an upgrade.
 */
async function grantToWorker(client: pg.ClientBase, workerRole: string): Promise<void> {
  const worker = client.escapeIdentifier(workerRole);
  const { rows } = await client.query<{ columns: string }>(`
    select string_agg(quote_ident(attname), ', ') as columns
    from pg_catalog.pg_attribute
    where attrelid = '${JOB_SCHEMA}.queue'::regclass
      and attnum > 0
      and not attisdropped
      and attname not in ('name', 'policy', 'partition', 'table_name')
  `);
  await client.query(`
    revoke all on schema ${JOB_SCHEMA} from public;
    revoke execute on all functions in schema ${JOB_SCHEMA} from public;
    grant usage on schema ${JOB_SCHEMA} to ${worker};
    grant select, insert, update, delete on all tables in schema ${JOB_SCHEMA} to ${worker};
    revoke insert, update, delete on ${JOB_SCHEMA}.bam from ${worker};
    revoke insert, delete on ${JOB_SCHEMA}.version from ${worker};
    revoke update, delete on ${JOB_SCHEMA}.queue from ${worker};
    grant update (${rows[0]!.columns}) on ${JOB_SCHEMA}.queue to ${worker};
    grant execute on all functions in schema ${JOB_SCHEMA} to ${worker};
  `);
  const found = await client.query(
    "select from pg_catalog.pg_policies where schemaname = $2 and policyname = 'insert_worker' and $1 = any (roles)",
    [workerRole, JOB_SCHEMA],
  );
  // Only once, because it locks the table and blocks a running worker.
  if (found.rowCount === 0) await restrictQueues(client, worker);
}

/** The worker may add only rows that name the common table. The policies do not apply to the table's owner. */
async function restrictQueues(client: pg.ClientBase, worker: string): Promise<void> {
  await client.query(`
    alter table ${JOB_SCHEMA}.queue enable row level security;
    drop policy if exists select_worker on ${JOB_SCHEMA}.queue;
    create policy select_worker on ${JOB_SCHEMA}.queue for select to ${worker} using (true);
    drop policy if exists update_worker on ${JOB_SCHEMA}.queue;
    create policy update_worker on ${JOB_SCHEMA}.queue for update to ${worker} using (true);
    drop policy if exists insert_worker on ${JOB_SCHEMA}.queue;
    create policy insert_worker on ${JOB_SCHEMA}.queue for insert to ${worker}
      with check (not partition and table_name = 'job_common');
  `);
}
