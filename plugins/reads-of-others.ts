import "graphile-build-pg";
import type { PgExecutor, PgResource } from "@dataplan/pg";
import { type DocumentNode, getOperationAST } from "graphql";
import { type SQL, sql } from "pg-sql2";
import { markOf, marksReads, ReadsOfOthers } from "../src/request/reads-of-others.ts";
import { OWN_ROWS, type OwnRows, owned, taggedOwnRows } from "./own-rows.ts";

interface OpenedRows extends OwnRows {
  /** Whether a row without an owner is everybody's, and not of a person without an account. */
  readonly isForEverybody?: true;
  /** The column with the id of a second person whose data the row has. */
  readonly otherPerson?: string;
}

/** The audit logs have the address and the program of the account that acted. */
const byActor = (permission: string): OpenedRows => ({
  ...owned("user_id", permission),
  otherPerson: "actor_id",
});

/** Tables and views that show rows of other people by a permission, but are not in OWN_ROWS, or name a second person. */
const OTHERS: Readonly<Record<string, OpenedRows>> = {
  "billing.usage_limits": { ...owned("user_id", "manage_users"), isForEverybody: true },
  "learning.learning_analytics": owned("user_id", "manage_skills"),
  "learning.user_content_access": owned("user_id", "manage_content_access"),
  "rooms.general_chat_revisions": owned("author_id", "moderate_general_chat"),
  "security.audit_trail": byActor("view_audit_log"),
  "security.security_audit_log": byActor("view_audit_log"),
  "security.error_logs": owned("user_id", "view_audit_log"),
};

/** Functions that return rows of a type of their own, with the table that these rows are from. */
export const FUNCTIONS: Readonly<Record<string, OpenedRows & { readonly relation: string }>> = {
  "access.model_access_of": {
    ...owned("account_id", "grant_model_access"),
    relation: "access.user_model_access",
  },
  "learning.course_learners": { ...owned("user_id", "manage_skills"), relation: "learning.content_progress" },
};

/** Tables and views whose rows of other people need a permission. */
export const READS_OF_OTHERS: Readonly<Record<string, OpenedRows>> = { ...OWN_ROWS, ...OTHERS };

/**
 * Records which people's data a permission has shown. A row of another person comes with a mark (see `MARK`); the marks of an
 * operation are recorded before its answer is returned, so that an answer that cannot be recorded is not sent. A caller without
 * such a permission gets no marks: for them, this costs a comparison of two ids for each row.
 *
 *   select …, case when users.id <> (select plinth.current_user_id()) and (select access.has_permission('manage_users'))
 *     then 'read_…_0_' || users.id end
 *   from identity.users
 *
 * Must run after the plugin that decides how statements are sent.
 */
export const ReadsOfOthersPlugin: GraphileConfig.Plugin = {
  name: "PlinthReadsOfOthersPlugin",
  version: "1.0.0",
  description: "Records reads of other people's personal data",
  schema: {
    hooks: {
      build(build) {
        for (const resource of Object.values(build.input.pgRegistry.pgResources) as PgResource[])
          markRows(resource);
        for (const executor of Object.values(build.input.pgRegistry.pgExecutors))
          noteMarks(executor as PgExecutor);
        return build;
      },
    },
  },
  grafast: {
    middleware: {
      async execute(next, { args }) {
        const reads = new ReadsOfOthers();
        collect(args, (found) => reads.add(found));
        const result = await next();
        if (!reads.isEmpty) await record(args, reads);
        return result;
      },
      subscribe(next, { args }) {
        // Each answer is recorded before it is sent; a subscription has no end to wait for.
        collect(args, (found) => {
          const reads = new ReadsOfOthers();
          reads.add(found);
          return reads.isEmpty ? undefined : record(args, reads);
        });
        return next();
      },
    },
  },
};

/** The rows that a permission shows, or undefined for other tables and functions. */
export function openedRows({
  codec,
  extensions,
}: PgResource): (OpenedRows & { readonly relation: string }) | undefined {
  if (codec.isAnonymous) return FUNCTIONS[nameOf(extensions?.pg)];
  const relation = nameOf(codec.extensions?.pg);
  const rows = READS_OF_OTHERS[relation] ?? taggedOwnRows(codec);
  return rows && rows.permissions.length > 0 ? { ...rows, relation } : undefined;
}

const nameOf = (pg: { readonly schemaName?: string; readonly name?: string } | undefined): string =>
  `${pg?.schemaName}.${pg?.name}`;

/** A person whose data a row has. */
export interface Person {
  /** The id in SQL. */
  readonly id: SQL;
  /** Whether the person is somebody else and only a permission shows the row to the caller. */
  readonly isMarked: SQL;
}

/**
 * The people whose data a row has. Neither the caller's own row nor a row for a caller without the permissions is marked.
 * @param isRow false where a join has not found a row
 */
export function peopleOf(
  { column, otherPerson, permissions, isForEverybody }: NonNullable<ReturnType<typeof openedRows>>,
  alias: SQL,
  isRow: SQL,
): readonly Person[] {
  const held = sql.join(
    permissions.map((name) => sql`(select access.has_permission(${sql.literal(name)}))`),
    " or ",
  );
  const me = sql`(select plinth.current_user_id())`;
  const owner = sql`${alias}.${sql.identifier(column)}`;
  const other = otherPerson && sql`${alias}.${sql.identifier(otherPerson)}`;
  const isNobodys = sql`${owner} is null and ${isRow}${other ? sql` and ${other} is null` : sql.blank}`;
  const isOthers = isForEverybody ? sql`${owner} <> ${me}` : sql`${owner} <> ${me} or ${isNobodys}`;
  const people = [{ id: owner, isMarked: sql`(${isOthers}) and (${held})` }];
  if (other)
    people.push({
      id: other,
      isMarked: sql`${other} <> ${me} and ${other} is distinct from ${owner} and (${held})`,
    });
  return people;
}

/** Members of PgResource and PgSelectStep that their types leave out. */
interface Marking {
  getNullCheckExpression(alias: SQL): SQL | null;
}
interface Selecting {
  readonly alias: SQL;
  readonly mode: "normal" | "aggregate" | "mutation";
  selectAndReturnIndex(expression: SQL): number;
}

function markRows(resource: PgResource): void {
  const rows = openedRows(resource);
  if (!rows) return;
  const authorize = resource.applyAuthorizationChecksToPlan.bind(resource);
  // Called once for each step, before it becomes part of another one.
  resource.applyAuthorizationChecksToPlan = ($step) => {
    authorize($step);
    const $select = $step as unknown as Selecting;
    // A total has no rows; see ReadsByFilterPlugin.
    if ($select.mode === "aggregate") return;
    // A row that a join has not found is null.
    const exists = (resource as unknown as Marking).getNullCheckExpression($select.alias);
    const isRow = exists ? sql`${exists} = 'true'` : sql`true`;
    for (const { id, isMarked } of peopleOf(rows, $select.alias, isRow))
      $select.selectAndReturnIndex(
        sql`case when ${isMarked} then ${sql.literal(markOf(rows.relation))} || coalesce(${id}::text, '') end`,
      );
  };
}

type Note = (rows: unknown) => Promise<void> | undefined | void;
/** The action on the rows of an operation, by its settings, which are the only part of its context that the executor knows. */
const notes = new WeakMap<object, Note>();

type Settings = { readonly pgSettings?: object | null };

function collect({ contextValue }: { readonly contextValue?: unknown }, note: Note): void {
  const { pgSettings } = (contextValue ?? {}) as Settings;
  if (pgSettings) notes.set(pgSettings, note);
}

interface Sender {
  _execute(
    context: Settings,
    text: string,
    ...rest: unknown[]
  ): Promise<{ readonly rows: readonly unknown[] }>;
  executeMutation(options: {
    readonly context: Settings;
    readonly text: string;
  }): Promise<{ readonly rows: readonly unknown[] }>;
}

function noteMarks(executor: PgExecutor): void {
  const sender = executor as unknown as Sender;
  const { _execute: execute, executeMutation: mutate } = sender;
  sender._execute = (context, text, ...rest) => {
    const result = execute.call(sender, context, text, ...rest);
    return marksReads(text) ? noted(context, result) : result;
  };
  sender.executeMutation = (options) => {
    const result = mutate.call(sender, options);
    return marksReads(options.text) ? noted(options.context, result) : result;
  };
}

async function noted<T extends { readonly rows: readonly unknown[] }>(
  context: Settings,
  result: Promise<T>,
): Promise<T> {
  const answer = await result;
  const note = context.pgSettings && notes.get(context.pgSettings);
  if (note) await note(answer.rows);
  else refuseMarks(answer.rows);
  return answer;
}

/** Without the operation, nobody could be named as the reader. */
function refuseMarks(rows: unknown): void {
  const reads = new ReadsOfOthers();
  reads.add(rows);
  if (!reads.isEmpty) throw new Error("A read of other people's data cannot be recorded.");
}

interface Args {
  readonly document: DocumentNode;
  readonly operationName?: string | null | undefined;
  readonly contextValue?: unknown;
}

async function record({ document, operationName, contextValue }: Args, reads: ReadsOfOthers): Promise<void> {
  const { plinth } = contextValue as Partial<Grafast.Context>;
  if (!plinth?.recordReads) throw new Error("A read of other people's data cannot be recorded.");
  const name = operationName ?? getOperationAST(document, operationName)?.name?.value;
  await plinth.recordReads(plinth.request, { name, text: document.loc?.source.body }, reads);
}
