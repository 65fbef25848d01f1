import { type CheckGroup, type Finding, fail, ok, warn } from "./check.ts";

interface Fault {
  readonly check: string;
  readonly status: typeof warn | typeof fail;
  readonly message: string;
  readonly hint: string;
}

type Values = Record<
  | "autovacuum"
  | "track_counts"
  | "session_replication_role"
  | "log_statement"
  | "log_min_duration_statement"
  | "log_parameter_max_length"
  | "password_encryption"
  | "standard_conforming_strings"
  | "row_security"
  | "default_transaction_isolation"
  | "statement_timeout"
  | "max_locks_per_transaction"
  | "zero_damaged_pages"
  | "collation_recorded"
  | "collation_actual",
  string | null
>;

/** Each rule returns the value at fault. */
const RULES: readonly (Fault & { readonly broken: (values: Values) => boolean })[] = [
  {
    check: "autovacuum",
    status: fail,
    broken: ({ autovacuum, track_counts }) => autovacuum === "off" || track_counts === "off",
    message: "autovacuum or track_counts is off: tables grow, plans get slow, and transaction ids run out.",
    hint: "Turn both on in postgresql.conf and reload the server.",
  },
  {
    check: "triggers-off",
    status: fail,
    broken: ({ session_replication_role }) => session_replication_role !== "origin",
    message: "session_replication_role is not origin: triggers and foreign keys are not checked.",
    hint: "alter database … reset session_replication_role; also for its roles.",
  },
  {
    check: "statement-log",
    status: warn,
    broken: ({ log_statement, log_min_duration_statement, log_parameter_max_length }) =>
      log_parameter_max_length !== "0" &&
      (/^(all|mod)$/.test(log_statement ?? "") || log_min_duration_statement === "0"),
    message:
      "The server logs every statement with its parameters, which include personal data and hashes of tokens.",
    hint: "Set log_parameter_max_length to 0, or log_statement to none.",
  },
  {
    check: "password-encryption",
    status: warn,
    broken: ({ password_encryption }) => password_encryption === "md5",
    message: "New passwords of database roles are stored as md5, which can be replayed.",
    hint: "Set password_encryption to scram-sha-256, then set the passwords of the roles again.",
  },
  {
    check: "string-literals",
    status: warn,
    broken: ({ standard_conforming_strings }) => standard_conforming_strings === "off",
    message:
      "standard_conforming_strings is off: backslashes change the meaning of SQL, and of Plinth's functions, in the sessions of other programs.",
    hint: "Turn it on for the database and its roles. Plinth's own connections set it.",
  },
  {
    check: "row-security-setting",
    status: warn,
    broken: ({ row_security }) => row_security === "off",
    message:
      "row_security is off: in the sessions of other programs, statements under policies fail instead of leaving out rows.",
    hint: "alter database … reset row_security; also for its roles. Plinth's own connections set it.",
  },
  {
    check: "isolation",
    status: warn,
    broken: ({ default_transaction_isolation }) => default_transaction_isolation !== "read committed",
    message:
      "default_transaction_isolation is not read committed: transactions that meet fail with 40001 in the sessions of other programs, and behind a pooler in transaction mode.",
    hint: "alter database … reset default_transaction_isolation; also for its roles. Plinth's own direct connections set it.",
  },
  {
    check: "server-timeout",
    status: warn,
    broken: ({ statement_timeout }) => Number(statement_timeout) > 0 && Number(statement_timeout) < 60_000,
    message: "A statement_timeout below a minute applies to migrations, jobs and backups too.",
    hint: "Reset it for the server, the database and the owner; requests have a limit of their own (PLINTH_STATEMENT_TIMEOUT_MS).",
  },
  {
    check: "damaged-pages",
    status: fail,
    broken: ({ zero_damaged_pages }) => zero_damaged_pages === "on",
    message: "zero_damaged_pages is on: a read of a damaged page deletes its rows.",
    hint: "Turn it off, and restore from a backup if pages are damaged.",
  },
  {
    check: "lock-table",
    status: warn,
    broken: ({ max_locks_per_transaction }) => Number(max_locks_per_transaction) < 64,
    message:
      "max_locks_per_transaction is below 64: migrations and dumps of all partitions may run out of shared memory.",
    hint: "Set it to 64 or more, and restart the server.",
  },
  {
    check: "collation",
    status: warn,
    broken: ({ collation_recorded, collation_actual }) =>
      collation_recorded !== null && collation_actual !== null && collation_recorded !== collation_actual,
    message:
      "The operating system sorts text in another way than when the database was created: indexes on text may miss rows.",
    hint: "Run REINDEX DATABASE, then ALTER DATABASE … REFRESH COLLATION VERSION.",
  },
];

/** Checks settings of the server, the database and the role that break an installation slowly, or without an error. */
export const checkServerSettings: CheckGroup = async ({ client }) => {
  const { rows } = await client.query<Values>(
    `select
       current_setting('autovacuum') as autovacuum,
       current_setting('track_counts') as track_counts,
       current_setting('session_replication_role') as session_replication_role,
       current_setting('log_statement') as log_statement,
       current_setting('log_min_duration_statement') as log_min_duration_statement,
       current_setting('log_parameter_max_length') as log_parameter_max_length,
       current_setting('password_encryption') as password_encryption,
       -- Those of a new session; doctor's own, as each of Plinth's, sets them.
       (select reset_val from pg_settings where name = 'standard_conforming_strings') as standard_conforming_strings,
       (select reset_val from pg_settings where name = 'row_security') as row_security,
       (select reset_val from pg_settings where name = 'default_transaction_isolation') as default_transaction_isolation,
       (select reset_val from pg_settings where name = 'statement_timeout') as statement_timeout,
       current_setting('max_locks_per_transaction') as max_locks_per_transaction,
       current_setting('zero_damaged_pages') as zero_damaged_pages,
       d.datcollversion as collation_recorded,
       pg_database_collation_actual_version(d.oid) as collation_actual
     from pg_database d
     where d.datname = current_database()`,
  );
  const broken = RULES.filter((rule) => rule.broken(rows[0]!));
  const findings: Finding[] = broken.map(({ check, status, message, hint }) => status(check, message, hint));
  return findings.length > 0 ? findings : [ok("server-settings", "No setting of the server is dangerous.")];
};
