import { PlinthError } from "../support/errors.ts";

const URLS = "PLINTH_OWNER_URL, PLINTH_AUTHENTICATOR_URL, PLINTH_SERVICE_URL, PLINTH_WORKER_URL";

const CONNECT_DENIED = "42501 CONNECT";

/** Error codes of Node and SQLSTATEs of PostgreSQL that the user can fix: the start of a sentence, and a hint. */
const EXPLANATIONS: Record<string, [sentence: string, hint: string]> = {
  ECONNREFUSED: [
    "The database does not respond",
    "Start it, or correct the address in the PLINTH_…_URL variables.",
  ],
  ECONNRESET: ["The database closed the connection", "Check that it is running, and read its log."],
  ENOTFOUND: ["The database's host name is unknown", `Correct it in ${URLS}.`],
  EAI_AGAIN: ["The database's host name cannot be resolved now", "Check the network and retry."],
  ETIMEDOUT: ["The database did not respond in time", "Check its address and the firewall."],
  EHOSTUNREACH: ["The database's host is unreachable", "Check its address and the network."],
  NO_SUITABLE_HOST: [
    "No host of the database URL can be used",
    "Start one, or correct the hosts and target_session_attrs in the PLINTH_…_URL variables.",
  ],
  NO_CHANNEL_BINDING: [
    "The sign-in cannot be bound to the certificate",
    "Use TLS and passwords of scram-sha-256 on the server, or remove channel_binding=require from the URL.",
  ],
  "28P01": [
    "The database rejected the password",
    "Correct it in the PLINTH_…_URL of that role. If the role is missing, run plinth migrate.",
  ],
  "28000": ["The database rejected the sign-in", "Check the user in the URL and the server's pg_hba.conf."],
  "3D000": ["The database does not exist", "Create it first (CREATE DATABASE), owned by the owner role."],
  "53300": ["The database has no free connection", "Lower PLINTH_POOL_MAX or raise max_connections."],
  "57P03": ["The database is starting up or shutting down", "Retry in a moment."],
  "57P01": ["The database terminated the connection", "Check that it is running, and retry."],
  "53100": ["The database's disk is full", "Free some space; committed data is not lost."],
  "25006": ["The database is read-only", "Use the primary server, not a replica."],
  "42501": ["The database role may not do this", "Run plinth doctor, which checks the roles."],
  [CONNECT_DENIED]: [
    "The role of the URL may not connect to the database",
    "As the database's owner or a superuser, run: grant connect on database … to …",
  ],
  "42883": ["A function is missing in the database", "Run plinth migrate first."],
  "42P01": ["A table is missing in the database", "Run plinth migrate first."],
  "3F000": ["A schema is missing in the database", "Run plinth migrate first."],
  DEPTH_ZERO_SELF_SIGNED_CERT: certificate("is self-signed"),
  SELF_SIGNED_CERT_IN_CHAIN: certificate("is signed by an authority that is not known here"),
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: certificate("is signed by an authority that is not known here"),
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: certificate("is signed by an authority that is not known here"),
  CERT_HAS_EXPIRED: certificate("has expired"),
  ERR_TLS_CERT_ALTNAME_INVALID: certificate("is for another host name"),
};

/** Messages of node-postgres that have no code. */
const MESSAGES: [RegExp, string][] = [
  [/^Connection terminated unexpectedly|^Client has encountered a connection error/, "ECONNRESET"],
  [/^timeout expired|^Connection terminated due to connection timeout/, "ETIMEDOUT"],
];

function certificate(fault: string): [string, string] {
  return [
    `The database's certificate ${fault}`,
    "Add ?sslrootcert=/path/to/ca.pem to the URL to name its authority.",
  ];
}

/**
 * Returns the error as one that the user can fix, or undefined if it must be a bug. Messages of the database and of the network
 * contain hosts, roles and tables, never passwords.
 */
export function explainError(error: unknown): PlinthError | undefined {
  if (error instanceof PlinthError) return error;
  const cause = firstOf(error);
  if (!(cause instanceof Error)) return undefined;
  if (/unsupported startup parameter/.test(cause.message))
    return new PlinthError("DATABASE_UNUSABLE", `The pooler rejects the connection: ${cause.message}.`, {
      hint: "Remove that parameter from the URL, or add it to ignore_startup_parameters of PgBouncer.",
      cause,
    });
  if (cause.message === "The server does not support SSL connections")
    return new PlinthError(
      "DATABASE_WITHOUT_TLS",
      "The URL requires TLS, but the database does not offer it.",
      {
        hint: "Enable TLS on the server, or remove sslmode from the URL if the network is trusted.",
        cause,
      },
    );
  const { code: state, hint } = cause as Error & { code?: string; hint?: string };
  // A trigger of Plinth says what to do first.
  if (state === "55000" && hint?.includes("plinth "))
    return new PlinthError("CONFLICT", cause.message, { hint, cause });
  const code = MESSAGES.find(([pattern]) => pattern.test(cause.message))?.[1] ?? codeOf(cause);
  const found = code === undefined ? undefined : EXPLANATIONS[code];
  if (!found) return undefined;
  return new PlinthError("DATABASE_UNUSABLE", `${found[0]}: ${cause.message || code}.`, {
    hint: found[1],
    cause,
  });
}

/** A session without CONNECT is rejected with the code of any missing privilege, by a function of its own. */
function codeOf(error: Error & { code?: string; routine?: string }): string | undefined {
  return error.code === "42501" && error.routine === "CheckMyDatabase" ? CONNECT_DENIED : error.code;
}

/** A host name with several addresses fails once for each. */
function firstOf(error: unknown): unknown {
  return error instanceof AggregateError ? error.errors[0] : error;
}
