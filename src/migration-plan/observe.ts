import pg from "pg";
import { DatabaseClient } from "../connection/client.ts";
import { sqlFailure } from "../database/graphile-migrate.ts";
import { type LockMode, lockMode } from "../database/locks/lock-modes.ts";
import { excerpt, type Statement } from "./statements.ts";

/** A table, view or index that exists before a step runs. */
export interface Relation {
  readonly oid: number;
  /** With its schema, as `schema.name`. */
  readonly name: string;
  /** `relkind` of pg_class. */
  readonly kind: string;
  /** The partitioned table or index that it belongs to. */
  readonly parent: string | null;
  /** The table of an index. */
  readonly table: string | null;
}

interface SeenLock {
  readonly relation: Relation;
  readonly mode: LockMode;
  /** Index of the statement that takes it. */
  readonly statement: number;
}

/** Work whose time grows with the size of the relation. */
export interface SeenWork {
  readonly kind: "rewrite" | "scan" | "index build";
  readonly relation: Relation;
  readonly statement: number;
}

/** Data that the step removes or overwrites. */
export interface SeenLoss {
  readonly kind: "table" | "column" | "truncate" | "delete" | "update" | "rows";
  /** The table, if it is known. */
  readonly relation: Relation | undefined;
  readonly column: string | null;
  readonly statement: number;
}

export interface SeenStatement {
  readonly file: string;
  readonly line: number;
  readonly excerpt: string;
}

export interface Observation {
  readonly statements: readonly SeenStatement[];
  readonly locks: readonly SeenLock[];
  readonly work: readonly SeenWork[];
  readonly losses: readonly SeenLoss[];
  /** The partitions of each partitioned table and index. */
  readonly partitions: ReadonlyMap<string, number>;
}

const RELATIONS = `
  select
    c.oid::bigint::double precision as oid,
    n.nspname || '.' || c.relname as name,
    c.relkind as kind,
    pn.nspname || '.' || p.relname as parent,
    tn.nspname || '.' || t.relname as "table"
  from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join pg_catalog.pg_inherits h on h.inhrelid = c.oid
    left join pg_catalog.pg_class p on p.oid = h.inhparent
    left join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace
    left join pg_catalog.pg_index i on i.indexrelid = c.oid
    left join pg_catalog.pg_class t on t.oid = i.indrelid
    left join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace
  where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'`;

/**
 * Locks of a session, and the state of each locked table: its file, which a rewrite replaces, its scans in this transaction, its columns
 * and its indexes. A statement can change only what it has locked.
 */
const STATE = `
  select
    l.relation::bigint::double precision as oid,
    array_agg(distinct l.mode::text) as modes,
    (select c.relfilenode::bigint::double precision from pg_catalog.pg_class c where c.oid = l.relation) as file,
    pg_catalog.pg_stat_get_xact_numscans(l.relation)::double precision as scans,
    (
      select coalesce(sum(pg_catalog.pg_stat_get_xact_numscans(i.indexrelid)), 0)::double precision
      from pg_catalog.pg_index i where i.indrelid = l.relation
    ) as "indexScans",
    array(
      select a.attname::text from pg_catalog.pg_attribute a
      where a.attrelid = l.relation and a.attnum > 0 and not a.attisdropped
    ) as columns,
    array(
      select i.indexrelid::bigint::double precision from pg_catalog.pg_index i where i.indrelid = l.relation
    ) as indexes
  from pg_catalog.pg_locks l
  where l.pid = $1 and l.locktype = 'relation' and l.relation = any ($2::bigint[]::oid[])
    and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())
  group by l.relation`;

interface State {
  readonly oid: number;
  readonly modes: readonly string[];
  /** Null if it was dropped. */
  readonly file: number | null;
  readonly scans: number;
  readonly indexScans: number;
  readonly columns: readonly string[];
  readonly indexes: readonly number[];
}

/** The state before the step, of all relations, because which of them it will lock is not known yet. */
const BEFORE = `
  select
    c.oid::bigint::double precision as oid,
    array[]::text[] as modes,
    c.relfilenode::bigint::double precision as file,
    pg_catalog.pg_stat_get_xact_numscans(c.oid)::double precision as scans,
    (
      select coalesce(sum(pg_catalog.pg_stat_get_xact_numscans(i.indexrelid)), 0)::double precision
      from pg_catalog.pg_index i where i.indrelid = c.oid
    ) as "indexScans",
    array(
      select a.attname::text from pg_catalog.pg_attribute a
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    ) as columns,
    array(
      select i.indexrelid::bigint::double precision from pg_catalog.pg_index i where i.indrelid = c.oid
    ) as indexes
  from pg_catalog.pg_class c
  where c.oid = any ($1::bigint[]::oid[])`;

/** Runs statements one by one in the open transaction of a scratch database, and notes what each of them locks and does. */
export async function observe(client: pg.ClientBase, statements: readonly Statement[]): Promise<Observation> {
  const seen = await startObservation(client, statements);
  const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  for (const [index, statement] of statements.entries()) {
    const result = await run(client, statement);
    // More than one result: a statement that a rule or a splitting error made several.
    const command = Array.isArray(result) ? "" : result.command;
    seen.add(index, command, await readState(client, rows[0]!.pid, seen.oids));
  }
  return seen.finish();
}

/**
 * Likewise for statements that cannot run in a transaction, whose locks end with them. A bystander, which has written to every table
 * and keeps its snapshot, makes each of them wait, and its locks are read meanwhile.
 */
export async function observeOutsideTransaction(
  client: pg.Client,
  bystanderUrl: string,
  statements: readonly Statement[],
): Promise<Observation> {
  const seen = await startObservation(client, statements);
  const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  const pid = rows[0]!.pid;
  const bystander = new DatabaseClient({ connectionString: bystanderUrl });
  const watcher = new DatabaseClient({ connectionString: bystanderUrl });
  await bystander.connect();
  await watcher.connect();
  try {
    for (const [index, statement] of statements.entries()) {
      await bystander.query("begin isolation level repeatable read");
      await bystander.query(`lock table ${seen.tables.join(", ")} in row exclusive mode`);
      let isDone = false;
      const running = run(client, statement).finally(() => {
        isDone = true;
      });
      running.catch(() => {});
      while (!isDone && !(await isWaiting(watcher, pid))) {}
      const states = await readState(watcher, pid, seen.oids);
      await bystander.query("rollback");
      const { command } = await running;
      // The rest shows only afterwards.
      const after = await readBefore(client, seen.oids);
      const modes = new Map(states.map((state) => [state.oid, state.modes]));
      seen.add(
        index,
        command,
        after
          .filter(({ oid }) => modes.has(oid))
          .map((state) => ({ ...state, modes: modes.get(state.oid)! })),
      );
    }
  } finally {
    await bystander.end();
    await watcher.end();
  }
  return seen.finish();
}

function run(client: pg.ClientBase, { file, line, sql }: Statement): Promise<pg.QueryResult> {
  return client.query(sql).catch((error) => {
    throw sqlFailure("MIGRATION_FAILED", error, { file, sql, linesAbove: line - 1 });
  });
}

async function isWaiting(client: pg.ClientBase, pid: number): Promise<boolean> {
  const { rowCount } = await client.query("select from pg_catalog.pg_locks where pid = $1 and not granted", [
    pid,
  ]);
  return rowCount! > 0;
}

async function readState(client: pg.ClientBase, pid: number, oids: readonly number[]): Promise<State[]> {
  return (await client.query<State>(STATE, [pid, oids])).rows;
}

async function readBefore(client: pg.ClientBase, oids: readonly number[]): Promise<State[]> {
  return (await client.query<State>(BEFORE, [oids])).rows;
}

interface Notes {
  readonly oids: readonly number[];
  /** Quoted names of the tables that a bystander can lock. */
  readonly tables: readonly string[];
  add(statement: number, command: string, states: readonly State[]): void;
  finish(): Observation;
}

async function startObservation(client: pg.ClientBase, statements: readonly Statement[]): Promise<Notes> {
  const relations = new Map(
    (await client.query<Relation>(RELATIONS)).rows.map((relation) => [relation.oid, relation]),
  );
  const oids = [...relations.keys()];
  const known = new Map((await readBefore(client, oids)).map((state) => [state.oid, state]));
  const held = new Map<number, Set<string>>();
  const locks: SeenLock[] = [];
  const work: SeenWork[] = [];
  const losses: SeenLoss[] = [];

  function add(statement: number, command: string, states: readonly State[]): void {
    const writes: Relation[] = [];
    for (const state of states) {
      const relation = relations.get(state.oid)!;
      const modes = held.get(state.oid) ?? new Set();
      held.set(state.oid, modes);
      for (const mode of state.modes) {
        if (modes.has(mode) || isMinor(relation, mode)) continue;
        modes.add(mode);
        locks.push({ relation, mode: lockMode(mode), statement });
        if (mode === "RowExclusiveLock" && /[rp]/.test(relation.kind)) writes.push(relation);
      }
    }
    const rewritten = new Set(
      states.filter((state) => isRewritten(known.get(state.oid)!, state)).map(({ oid }) => oid),
    );
    for (const state of states) {
      const relation = relations.get(state.oid)!;
      const before = known.get(state.oid)!;
      const note = (kind: SeenWork["kind"]) => work.push({ kind, relation, statement });
      const lose = (kind: SeenLoss["kind"], column: string | null = null) =>
        losses.push({ kind, relation, column, statement });
      if (state.file === null) {
        if (before.file !== null && /[rp]/.test(relation.kind) && !isPartition(relation)) lose("table");
      } else if (relation.kind === "i") {
        const table = [...relations.values()].find(({ name }) => name === relation.table);
        if (rewritten.has(state.oid) && !(table && rewritten.has(table.oid)) && command !== "TRUNCATE")
          note("index build");
      } else {
        for (const column of before.columns)
          if (/[rp]/.test(relation.kind) && !isPartition(relation) && !state.columns.includes(column))
            lose("column", column);
        const isScanned =
          state.scans > before.scans || (command === "ALTER" && state.indexScans > before.indexScans);
        if (rewritten.has(state.oid)) {
          if (command === "TRUNCATE") lose("truncate");
          else note("rewrite");
        } else if (state.indexes.some((index) => !before.indexes.includes(index))) {
          if (relation.kind !== "p") note("index build");
        } else if (isScanned) note("scan");
      }
      known.set(state.oid, state);
    }
    noteWrites(statement, command, writes);
  }

  function noteWrites(statement: number, command: string, writes: readonly Relation[]): void {
    const direct = { DELETE: "delete", UPDATE: "update", MERGE: "update" } as const;
    const kind = direct[command as keyof typeof direct];
    const { sql } = statements[statement]!;
    if (kind) {
      const relation = [...relations.values()].find(
        ({ name, kind: relkind }) => /[rp]/.test(relkind) && startsWithTarget(sql, name),
      );
      losses.push({ kind, relation, column: null, statement });
    } else if (command !== "INSERT")
      for (const relation of writes) losses.push({ kind: "rows", relation, column: null, statement });
  }

  const partitions = new Map<string, number>();
  for (const { parent } of relations.values())
    if (parent !== null) partitions.set(parent, (partitions.get(parent) ?? 0) + 1);
  return {
    oids,
    tables: [...relations.values()].filter(({ kind }) => kind === "r").map(({ name }) => quoted(name)),
    add,
    finish: () => ({
      statements: statements.map(({ file, line, sql }) => ({ file, line, excerpt: excerpt(sql) })),
      locks,
      work,
      losses,
      partitions,
    }),
  };
}

/**
 * A read or write of an index excludes nothing that the same lock on its table does not, and depends on there being rows, which the
 * scratch database lacks.
 */
const isMinor = ({ table }: Relation, mode: string) =>
  table !== null && /^(AccessShare|RowShare|RowExclusive)Lock$/.test(mode);

const isPartition = ({ parent }: Relation) => parent !== null;

const isRewritten = (before: State, after: State) =>
  after.file !== null && before.file !== null && before.file !== 0 && after.file !== before.file;

/** Whether the statement names the table after its command, as in `delete from only schema.name`. */
function startsWithTarget(sql: string, name: string): boolean {
  const [, target = ""] =
    /^\s*(?:with\b[\s\S]*?\b)?(?:delete\s+from|update|merge\s+into)\s+(?:only\s+)?([\w".]+)/i.exec(sql) ?? [];
  return target.replaceAll('"', "") === name;
}

/** `schema.name` with both parts quoted. */
export function quoted(name: string): string {
  const [schema = "", ...rest] = name.split(".");
  return `${pg.escapeIdentifier(schema)}.${pg.escapeIdentifier(rest.join("."))}`;
}
