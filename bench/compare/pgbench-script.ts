import { SQL_IDS, USERS } from "./seed.ts";

export interface PgbenchScript {
  readonly role: "authenticator" | "service";
  readonly text: string;
}

/** The variables :u, a user, and :c, a chat of the user. */
const VARIABLES = `\\set u random(1, ${USERS})
\\set c random(0, 29)
`;

/**
 * A statement under the policies of a user, in a transaction.
 * @param values SQL expressions in place of $1 and so on, over the variables
 */
export function asUser(sql: string, values: readonly string[] = []): PgbenchScript {
  const text = sql.replace(/\$(\d)/g, (_, n) => values[Number(n) - 1]!).replace(/\s+/g, " ");
  return {
    role: "authenticator",
    text: `${VARIABLES}begin;
select set_config('role', 'plinth_user', true), set_config('jwt.claims.user_id', ${SQL_IDS.user(":u")}::text, true);
${text};
commit;
`,
  };
}

/** Two statements of an application's server, each a transaction; the first returns `got`, which the second uses. */
export function asService(first: string, second: string): PgbenchScript {
  return { role: "service", text: `${VARIABLES}${first} \\gset\n${second};\n` };
}
