import { PlinthError } from "../support/errors.ts";

const URLS = "PLINTH_OWNER_URL, PLINTH_AUTHENTICATOR_URL, PLINTH_SERVICE_URL, PLINTH_WORKER_URL";

/** Error codes of Node and SQLSTATEs of PostgreSQL that a person can act on: a sentence's beginning and what to do. */
const EXPLANATIONS: Record<string, [sentence: string, hint: string]> = {
  ECONNREFUSED: [
    "The database does not answer",
    "Start it, or correct the address in the PLINTH_…_URL variables.",
  ],
  ECONNRESET: ["The database closed the connection", "Check that it is still running and look at its log."],
  ENOTFOUND: ["The database's host name is not known", `Correct it in ${URLS}.`],
  EAI_AGAIN: ["The database's host name cannot be looked up now", "Check the network and try again."],
  ETIMEDOUT: ["The database does not answer in time", "Check its address and the firewall between."],
  EHOSTUNREACH: ["The database's host cannot be reached", "Check its address and the network."],
  "28P01": [
    "The database refuses the password",
    "Correct it in the PLINTH_…_URL of that role. Roles that are missing are made by plinth migrate.",
  ],
  "28000": ["The database refuses the sign-in", "Check the user in the URL and the server's pg_hba.conf."],
  "3D000": ["The database does not exist", "Create it first (CREATE DATABASE), owned by the owner role."],
  "53300": ["The database has no free connection", "Lower PLINTH_POOL_MAX or raise max_connections."],
  "57P03": ["The database is starting up or shutting down", "Try again in a moment."],
  "57P01": ["The database shut the connection down", "Check that it is still running and try again."],
  "53100": ["The database's disk is full", "Free some space; what was committed is not lost."],
  "25006": ["The database is read-only", "Use the primary server, not a replica."],
  "42501": ["The database role may not do this", "Run plinth doctor, which checks the roles."],
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

/** What node-postgres says without a code. */
const MESSAGES: [RegExp, string][] = [
  [/^Connection terminated unexpectedly|^Client has encountered a connection error/, "ECONNRESET"],
  [/^timeout expired|^Connection terminated due to connection timeout/, "ETIMEDOUT"],
];

function certificate(fault: string): [string, string] {
  return [
    `The database's certificate ${fault}`,
    "Name its authority with ?sslrootcert=/path/to/ca.pem in the URL.",
  ];
}

/**
 * The error as one that a person can act on, or undefined for what must be a bug. Messages of the database and of the
 * network name hosts, roles and tables, never passwords.
 */
export function explainError(error: unknown): PlinthError | undefined {
  if (error instanceof PlinthError) return error;
  const cause = firstOf(error);
  if (!(cause instanceof Error)) return undefined;
  if (cause.message === "The server does not support SSL connections")
    return new PlinthError(
      "DATABASE_WITHOUT_TLS",
      "The database does not offer TLS, which the URL asks for.",
      {
        hint: "Turn TLS on at the server, or take sslmode out of the URL if the network is trusted.",
        cause,
      },
    );
  const code =
    MESSAGES.find(([pattern]) => pattern.test(cause.message))?.[1] ?? (cause as { code?: string }).code;
  const found = code === undefined ? undefined : EXPLANATIONS[code];
  if (!found) return undefined;
  return new PlinthError("DATABASE_UNUSABLE", `${found[0]}: ${cause.message || code}.`, {
    hint: found[1],
    cause,
  });
}

/** A host name with several addresses fails once for each. */
function firstOf(error: unknown): unknown {
  return error instanceof AggregateError ? error.errors[0] : error;
}
