import pg from "pg";
import { type AnyLoginRole, roleName } from "../config/roles.ts";
import { literal } from "./create-roles-sql.ts";
import { scramVerifier } from "./scram.ts";

/** Sets a password without revealing it to the server: only its SCRAM verifier is sent, and perhaps logged. */
export function passwordSql(prefix: string, role: AnyLoginRole, password: string): string {
  return `alter role ${pg.escapeIdentifier(roleName(prefix, role))} password ${literal(scramVerifier(password))};`;
}
