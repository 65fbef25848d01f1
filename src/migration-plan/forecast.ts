import type pg from "pg";
import { blockedBy, LOCK_MODES, type LockMode } from "../database/locks/lock-modes.ts";
import { type Blocker, countRows, type LiveRelation, readBlockers } from "./live.ts";
import type { Observation, Relation, SeenLoss, SeenStatement, SeenWork } from "./observation.ts";

/** A relation with its size on the live database. */
interface Sized {
  readonly relation: string;
  readonly kind: LiveRelation["kind"];
  readonly partitionOf: string | null;
  readonly indexOf: string | null;
  readonly rows: number | null;
  readonly bytes: number | null;
}

export interface PlannedLock extends Sized {
  readonly mode: LockMode;
  /** The statements of the application that wait while it is held, which is until the step ends. */
  readonly blocks: ReturnType<typeof blockedBy>;
  /** The statement that takes it. */
  readonly at: SeenStatement;
  /** Statements that run while it is held, that one included. */
  readonly statements: number;
  /** Size of everything that is rewritten, scanned or indexed while it is held. */
  readonly workBytes: number;
}

export interface PlannedWork extends Sized {
  readonly work: SeenWork["kind"];
  readonly at: SeenStatement;
}

/** Data that the step removes or overwrites. */
export interface PlannedLoss {
  readonly loss: SeenLoss["kind"];
  readonly relation: string | null;
  readonly column: string | null;
  /** Rows of the table, or values of the column; null if only running the statement would tell. */
  readonly rows: number | null;
  readonly isExact: boolean;
  readonly at: SeenStatement;
}

export interface Forecast {
  readonly statements: number;
  readonly locks: readonly PlannedLock[];
  readonly work: readonly PlannedWork[];
  readonly losses: readonly PlannedLoss[];
  /** Sessions that the step would wait for now. */
  readonly blockers: readonly Blocker[];
}

/** Translates what happened on the scratch database to the relations, sizes and sessions of the live one. */
export async function forecast(
  client: pg.ClientBase,
  seen: Observation,
  live: ReadonlyMap<string, LiveRelation>,
): Promise<Forecast> {
  const at = (statement: number) => seen.statements[statement]!;
  const toLive = translation(seen, live);
  const work = seen.work.flatMap(({ kind, relation, statement }) =>
    toLive(`${kind} ${statement}`, seen.work.filter(sameKind(kind, statement)), relation).map((found) => ({
      ...sized(found),
      work: kind,
      at: at(statement),
      statement,
    })),
  );
  const locks = seen.locks
    .flatMap(({ relation, mode, statement }) =>
      toLive(
        `lock ${mode}`,
        seen.locks.filter((lock) => lock.mode === mode),
        relation,
      ).map((found) => ({
        ...sized(found),
        mode,
        blocks: blockedBy(mode),
        at: at(statement),
        statements: seen.statements.length - statement,
        workBytes: total(work.filter((each) => each.statement >= statement)),
      })),
    )
    .sort(
      (a, b) => LOCK_MODES.indexOf(b.mode) - LOCK_MODES.indexOf(a.mode) || (b.bytes ?? 0) - (a.bytes ?? 0),
    );
  const losses: PlannedLoss[] = [];
  for (const { kind, relation, column, statement } of seen.losses) {
    const table = relation && live.get(relation.name);
    const isWhole = kind === "table" || kind === "column" || kind === "truncate";
    losses.push({
      loss: kind,
      relation: relation?.name ?? null,
      column,
      ...(table && isWhole ? await countRows(client, table, column) : { rows: null, isExact: false }),
      at: at(statement),
    });
  }
  return {
    statements: seen.statements.length,
    locks,
    work: work
      .toSorted((a, b) => a.statement - b.statement || (a.relation < b.relation ? -1 : 1))
      .map(({ statement: _, ...each }) => each),
    losses,
    blockers: await readBlockers(
      client,
      locks.map(({ relation, mode }) => ({ name: relation, mode })),
    ),
  };
}

const sameKind =
  (kind: SeenWork["kind"], statement: number) =>
  (work: SeenWork): boolean =>
    work.kind === kind && work.statement === statement;

/**
 * The live database has partitions of other months than the scratch one. If a statement concerned all partitions there, it
 * concerns all of them here.
 */
function translation(seen: Observation, live: ReadonlyMap<string, LiveRelation>) {
  const done = new Set<string>();
  return (
    effect: string,
    same: readonly { readonly relation: Relation }[],
    { name, parent }: Relation,
  ): readonly LiveRelation[] => {
    const itself = live.get(name);
    if (parent === null) return itself ? [itself] : [];
    const concerned = new Set(
      same.filter(({ relation }) => relation.parent === parent).map(({ relation }) => relation.name),
    );
    if (concerned.size < seen.partitions.get(parent)!) return itself ? [itself] : [];
    if (done.has(`${effect} ${parent}`)) return [];
    done.add(`${effect} ${parent}`);
    return [...live.values()].filter((relation) => relation.parent === parent);
  };
}

const sized = ({ name, kind, parent, table, rows, bytes }: LiveRelation): Sized => ({
  relation: name,
  kind,
  partitionOf: parent,
  indexOf: table,
  rows,
  bytes,
});

const total = (relations: readonly Sized[]) => relations.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0);
