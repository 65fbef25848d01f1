import { type Command, InvalidArgumentError, Option } from "commander";
import pg from "pg";
import { ROLES } from "../../config/roles.ts";
import { findUser } from "../../database/find-user.ts";
import { OWN_SQLSTATES } from "../../request/public-error.ts";
import { PlinthError } from "../../support/errors.ts";
import { type Explanation, explanationLines } from "../explanation-lines.ts";
import { print, printJson } from "../output.ts";
import { withClient, withSession } from "../session.ts";
import { UsageError } from "../usage-error.ts";

type Key = string | Readonly<Record<string, string>>;

interface Flags {
  readonly user?: string;
  readonly role?: string;
  readonly op?: string;
  readonly table?: string;
  readonly function?: string;
  readonly id?: Key;
  readonly values?: Readonly<Record<string, unknown>>;
  readonly session?: string;
  readonly returning?: boolean;
  readonly json?: boolean;
}

/** The authenticator owns and reads nothing itself. */
const EXPLAINED_ROLES = ROLES.filter((role) => role !== "authenticator");
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export function addExplainAccess(program: Command): void {
  program
    .command("explain-access")
    .description("explain why a user may or may not read or change a row")
    .option("--user <name or id>", "account that acts")
    .addOption(
      new Option("--role <role>", "database role that acts instead; anonymous is a visitor").choices(
        EXPLAINED_ROLES,
      ),
    )
    .addOption(new Option("--op <operation>", "operation").choices(["select", "insert", "update", "delete"]))
    .option("--table <schema.table>", "table or view")
    .option("--function <schema.name>", "function, instead of a table and an operation")
    .option("--id <key>", "key of the row: a value, or column=value,column=value", keyOf)
    .option("--values <json>", "values of a new row, or those that an update changes", objectOf)
    .option("--returning", "the insert returns its row, as the API's create mutations do")
    .option("--session <id>", "session of the user, for roles that require a second factor")
    .option("--json", "print the explanation as JSON")
    .addHelpText(
      "after",
      `
Prints the verdict, the grants and policies that decide with the outcome of each part, and what would have to change.
Evaluates the policies as the role, read-only; changes nothing and prints no values of the row. Without --id, parts that
depend on the row stay open. Triggers and constraints are not evaluated.

The exit code is 0 if the verdict is "allowed", and 1 if it is anything else.

Example:
  $ plinth explain-access --user ada --op update --table llm.chats --id 0190…
  $ plinth explain-access --user ada --op insert --table llm.prompts --values '{"name": "x", "content": "y"}'
  $ plinth explain-access --role anonymous --function access.grant_role`,
    )
    .action(explain);
}

async function explain(flags: Flags): Promise<void> {
  assertUsable(flags);
  const explanation = await withSession(({ database }) =>
    withClient(database, "owner", (client) => ask(client, flags)),
  );
  if (flags.json) printJson(explanation);
  else for (const line of explanationLines(explanation, flags.user ?? flags.role!)) print(line);
  if (explanation.verdict !== "allowed") process.exitCode = 1;
}

function assertUsable({ user, role, op, table, function: name }: Flags): void {
  if (!user === !role) throw new UsageError("Name the actor with --user or with --role.");
  if (!table === !name) throw new UsageError("Name the object with --table or with --function.");
  if (table && !op) throw new UsageError("Add --op select, insert, update or delete.");
  if (name && op) throw new UsageError("A function has no --op: it is executed.");
}

async function ask(client: pg.Client, flags: Flags): Promise<Explanation> {
  const { user, id, values } = flags;
  const userId = !user || UUID.test(user) ? user : await findUser(client, user);
  const { rows } = await client
    .query<{ explanation: Explanation }>(
      `select to_jsonb(e) as explanation
       from access.explain_access(
         operation => $1, object => $2, user_id => $3, key => $4, new_values => $5, database_role => $6, session_id => $7,
         returns_row => $8
       ) e`,
      [
        flags.op ?? "execute",
        flags.table ?? flags.function,
        userId ?? null,
        id === undefined ? null : JSON.stringify(id),
        values === undefined ? null : JSON.stringify(values),
        flags.role ?? null,
        flags.session ?? null,
        flags.returning ?? false,
      ],
    )
    .catch(explainRejection);
  return rows[0]!.explanation;
}

function explainRejection(error: unknown): never {
  const code = error instanceof pg.DatabaseError ? OWN_SQLSTATES[error.code ?? ""] : undefined;
  if (!code) throw error;
  const { message, hint } = error as pg.DatabaseError;
  throw new PlinthError(code, message, { ...(hint ? { hint } : {}), cause: error });
}

/** `a=1,b=2` are columns and their values; other texts are the value of the only column. */
function keyOf(text: string): Key {
  const columns = text.split(/,(?=[a-z_]\w*=)/).map((part) => /^([a-z_]\w*)=(.*)$/s.exec(part));
  if (!columns[0]) return text;
  return Object.fromEntries(columns.map((match) => [match![1]!, match![2]!]));
}

function objectOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // The message below says what it must be.
  }
  throw new InvalidArgumentError(`It must be a JSON object such as '{"title": "x"}'.`);
}
