import type { Outcome } from "../../graphql/execute.ts";
import { CODES_BY_STATUS } from "../http-error.ts";

type Payload = Outcome["payload"];

/** Adds a code to errors that have none. */
export function withCodes(payload: Payload, status: number): Payload {
  const { errors } = payload;
  if (!errors?.some(({ extensions }) => extensions?.code === undefined)) return payload;
  const code = CODES_BY_STATUS[status] ?? "BAD_REQUEST";
  return {
    ...payload,
    errors: errors.map((error) =>
      error.extensions?.code === undefined ? { message: error.message, extensions: { code } } : error,
    ),
  };
}
