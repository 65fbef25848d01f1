import type pg from "pg";
import { lockMode } from "../database/locks/lock-modes.ts";
import type { Observation, Relation, SeenLock, SeenLoss, SeenWork } from "./observation.ts";
import { quoted, type RelationState, readRelations, readStates } from "./relations.ts";
import { excerpt, type Statement } from "./statements.ts";

/** Collects what statements lock and do. */
interface Notes {
  readonly oids: ReadonlySet<number>;
  /** Quoted names of the tables that a bystander can lock. */
  readonly tables: readonly string[];
  add(statement: number, command: string, states: readonly RelationState[]): void;
  finish(): Observation;
}

/** Begins before the first statement, because a change shows only against the state before it. */
export async function startObservation(
  client: pg.ClientBase,
  statements: readonly Statement[],
): Promise<Notes> {
  const relations = new Map((await readRelations(client)).map((relation) => [relation.oid, relation]));
  const oids = new Set(relations.keys());
  const known = new Map((await readStates(client, oids)).map((state) => [state.oid, state]));
  const held = new Map<number, Set<string>>();
  const locks: SeenLock[] = [];
  const work: SeenWork[] = [];
  const losses: SeenLoss[] = [];

  function add(statement: number, command: string, states: readonly RelationState[]): void {
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

const isRewritten = (before: RelationState, after: RelationState) =>
  after.file !== null && before.file !== null && before.file !== 0 && after.file !== before.file;

/** Whether the statement names the table after its command, as in `delete from only schema.name`. */
function startsWithTarget(sql: string, name: string): boolean {
  const [, target = ""] =
    /^\s*(?:with\b[\s\S]*?\b)?(?:delete\s+from|update|merge\s+into)\s+(?:only\s+)?([\w".]+)/i.exec(sql) ?? [];
  return target.replaceAll('"', "") === name;
}
