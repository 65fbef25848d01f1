import type { LiveCheck, MendStatement, ReportedDifference } from "./live-check.ts";

/** Marks the lines of statements that are not run. */
const NOT_RUN = "--! ";

/**
 * Prints the statements as a file for psql. Statements that lose rows, and those of an administrator, are comments that begin with
 * `--!`. Names from the database cannot end a comment: control characters become spaces.
 */
export function printMend({ database, owner, differences, statements }: LiveCheck): string {
  if (differences.length === 0) return "-- The database matches its migrations.";
  const descriptions = new Map(Map.groupBy(differences, ({ object }) => object));
  const [ofAdministrator, ofOwner] = [true, false].map((wanted) =>
    statements.filter(({ needsAdministrator }) => needsAdministrator === wanted),
  );
  const decisions = ofOwner!.filter(({ decide }) => decide !== undefined).length;
  const unmentioned = differences.filter(
    ({ object }) => !statements.some((statement) => statement.object === object),
  );
  const lines = [
    comment(
      `Database ${database} differs from its migrations in ${count(differences.length, "object")}. Read this file, then run it as the`,
    ),
    "-- owner in one transaction, which changes nothing if a statement fails:",
    '--   psql -1 -v ON_ERROR_STOP=1 -f FILE "$PLINTH_OWNER_URL"',
    ...(decisions > 0
      ? [`-- ${count(decisions, "point")} below ${decisions === 1 ? "needs" : "need"} a decision (--!).`]
      : []),
    ...(unmentioned.length > 0 ? ["-- Mended by the statements for other objects:"] : []),
    ...unmentioned.map(({ description }) => comment(description)),
  ];
  if (ofAdministrator!.length > 0)
    lines.push(
      "",
      "-- For an administrator of the server, before the rest: remove --! from these lines.",
      ...describe(ofAdministrator!, descriptions),
    );
  if (ofOwner!.length > 0)
    lines.push(
      "",
      `set local role ${owner};`,
      "set local search_path = '';",
      "set local check_function_bodies = off;",
      ...describe(ofOwner!, descriptions),
    );
  return lines.join("\n");
}

const count = (number: number, noun: string) => `${number} ${noun}${number === 1 ? "" : "s"}`;

/** Each statement under the difference that it mends. */
function describe(
  statements: readonly MendStatement[],
  descriptions: ReadonlyMap<string, readonly ReportedDifference[]>,
): string[] {
  let previous: string | undefined;
  return statements.flatMap(({ sql, object, decide, needsAdministrator }) => {
    const isNew = object !== previous;
    previous = object;
    const told = descriptions.get(object)?.map(({ description }) => description) ?? [
      `${object}: is created again, because it depends on another object here`,
    ];
    const isRun = decide === undefined && !needsAdministrator;
    return [
      ...(isNew ? ["", ...told.map(comment)] : []),
      ...(decide === undefined ? [] : [comment(decide)]),
      ...(sql === "" ? [] : [isRun ? sql : notRun(sql)]),
    ];
  });
}

const comment = (text: string) => `-- ${text.replaceAll(/\p{C}+/gu, " ")}`;

const notRun = (sql: string) => sql.replaceAll(/^/gm, NOT_RUN);
