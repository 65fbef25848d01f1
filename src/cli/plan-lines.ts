import { LOCK_MODES } from "../database/locks/lock-modes.ts";
import { describeHolder } from "../database/locks/lock-wait.ts";
import type { Forecast, PlannedLock, PlannedLoss, PlannedWork } from "../migration-plan/forecast.ts";
import type { SeenStatement } from "../migration-plan/observation.ts";
import type { Plan, PlanStep } from "../migration-plan/plan.ts";
import { oneLine } from "./output.ts";

/** Scans of smaller tables are counted only. */
const SHOWN_BYTES = 8 * 1024 * 1024;

const OWNERS: Record<PlanStep["of"], string> = {
  plinth: "Plinth",
  application: "the application",
  jobs: "pg-boss",
};

/** The plan for a terminal. */
export function planLines({ steps, notes }: Plan, options: { isRollback: boolean }): string[] {
  const lines = steps.flatMap((step) => [...stepLines(step, options.isRollback), ""]);
  return [...lines, ...notes.map((note) => `Note: ${note}`)].map((line) => line.replace(/\S.*/, oneLine));
}

function stepLines(
  { name, of, isTransaction, isReversible, forecast }: PlanStep,
  isRollback: boolean,
): string[] {
  const facts = [
    OWNERS[of],
    isTransaction ? "one transaction" : "no transaction",
    forecast && count(forecast.statements, "statement"),
    !isRollback && of !== "jobs" && !isReversible && "no rollback file: it cannot be undone",
  ].filter(Boolean);
  return [
    `${name} (${facts.join(", ")})`,
    ...(forecast ? forecastLines(forecast, isTransaction).map((line) => `  ${line}`) : []),
  ];
}

function forecastLines({ locks, work, losses, blockers }: Forecast, isTransaction: boolean): string[] {
  const until = isTransaction ? "held until the end" : "held for its statement";
  return [
    ...section(
      `Locks, ${until}`,
      groups(
        locks.filter((lock) => isShown(lock, locks)),
        lockKey,
      ).map(lockLine),
    ),
    ...section("Work that grows with the table", workLines(work)),
    ...section("Data that is lost or changed", losses.map(lossLine)),
    ...section(
      "In the way now",
      blockers.map((blocker) => `${blocker.relation} (${blocker.needs}): ${describeHolder(blocker)}`),
    ),
  ];
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [`${title}: none`] : [`${title}:`, ...lines.map((line) => `  ${line}`)];
}

/**
 * Locks that writers wait for, and those that keep VACUUM away; not those that a stronger one on the same table, or the same one on
 * an index's table, includes.
 */
function isShown(lock: PlannedLock, all: readonly PlannedLock[]): boolean {
  const { relation, kind, mode, blocks, statements, indexOf } = lock;
  if (blocks === "nothing" || mode === "ROW EXCLUSIVE" || kind === "sequence") return false;
  return !all.some(
    (other) =>
      other !== lock &&
      (other.relation === relation || other.relation === indexOf) &&
      LOCK_MODES.indexOf(other.mode) >= LOCK_MODES.indexOf(mode) &&
      other.statements >= statements,
  );
}

const lockKey = ({ mode, at }: PlannedLock) => `${mode} ${at.file} ${at.line}`;

/** Puts the partitions of a table that have the same key together, also with the table itself. */
function groups<T extends PlannedLock | PlannedWork>(
  effects: readonly T[],
  key: (effect: T) => string,
): T[][] {
  const found = new Map<string, T[]>();
  for (const effect of effects) {
    const name = `${effect.partitionOf ?? effect.relation} ${key(effect)}`;
    found.set(name, [...(found.get(name) ?? []), effect]);
  }
  return [...found.values()];
}

function lockLine(group: readonly PlannedLock[]): string {
  const { mode, blocks, at, statements, workBytes } = group[0]!;
  const during = workBytes >= SHOWN_BYTES ? ` with ${size(workBytes)} of work` : "";
  return `${mode} on ${relations(group)} blocks ${blocks} from ${place(at)}, for ${count(statements, "statement")}${during}`;
}

function workLines(work: readonly PlannedWork[]): string[] {
  const workKey = ({ work: kind, at }: PlannedWork) => `${kind} ${at.file} ${at.line}`;
  const all = groups(work, workKey);
  const shown = all.filter((group) => group[0]!.work === "rewrite" || bytesOf(group) >= SHOWN_BYTES);
  const others = all.length - shown.length;
  return [
    ...shown.map((group) => {
      const { work: kind, at } = group[0]!;
      return `${VERBS[kind]} ${relations(group)} at ${place(at)}: ${at.excerpt}`;
    }),
    ...(others > 0
      ? [
          `${count(others, "scan or index build", "scans or index builds")} of less than ${size(SHOWN_BYTES)} each`,
        ]
      : []),
  ];
}

const VERBS: Record<PlannedWork["work"], string> = {
  rewrite: "rewrites",
  scan: "scans",
  "index build": "builds an index of",
};

function lossLine({ loss, relation, column, rows, isExact, at }: PlannedLoss): string {
  const where = `at ${place(at)}: ${at.excerpt}`;
  const amount = (unit: string) =>
    rows === null
      ? `an unknown number of ${unit}s`
      : `${count(rows, unit)} (${isExact ? "counted" : "estimated"})`;
  const table = relation ?? "a table";
  if (loss === "column") return `drops the column ${table}.${column}, ${amount("value")}, ${where}`;
  if (loss === "table") return `drops the table ${table}, ${amount("row")}, ${where}`;
  if (loss === "truncate") return `empties ${table}, ${amount("row")}, ${where}`;
  if (loss === "delete") return `deletes rows of ${table} ${where}`;
  return `${loss === "update" ? "updates" : "may change"} rows of ${table} ${where}`;
}

function relations(group: readonly (PlannedLock | PlannedWork)[]): string {
  const [first] = group;
  const partitions = group.filter(({ partitionOf }) => partitionOf !== null).length;
  const name =
    group.length === 1
      ? first!.relation
      : `${first!.partitionOf ?? first!.relation} with ${count(partitions, "partition")}`;
  if (first!.kind === "view") return `${name} (view)`;
  const rows = group.reduce((sum, effect) => sum + (effect.rows ?? 0), 0);
  return `${name} (about ${count(rows, "row")}, ${size(bytesOf(group))})`;
}

const bytesOf = (group: readonly (PlannedLock | PlannedWork)[]) =>
  group.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0);

const place = ({ file, line }: SeenStatement) =>
  file.startsWith("rollback/") ? `${file}:${line}` : `line ${line}`;

const number = (value: number) => Math.round(value).toLocaleString("en");

const count = (value: number, one: string, many = `${one}s`) =>
  `${number(value)} ${value === 1 ? one : many}`;

function size(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  return `${Number(value.toFixed(value < 10 ? 1 : 0))} ${units[power]}`;
}
