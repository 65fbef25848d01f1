import { type Contract, readContract } from "../../../src/access-contract/contract.ts";
import { readCommitted } from "../contract/files.ts";

/** A grant as the access contract names it. */
export interface GrantInContract {
  readonly object: string;
  /** An operation on a relation, or call. */
  readonly operation: string;
  readonly role: string;
  readonly column?: string | undefined;
}

/** @throws if there is no committed contract */
export const committedContract = (): Contract => readContract(readCommitted()!).contract;

/** Whether the contract says that the role has the privilege. */
export function isGranted(contract: Contract, { object, operation, role, column }: GrantInContract): boolean {
  const operations = contract.get(
    object.startsWith("partition ") ? object.replace(MONTH, "_YYYY_MM") : object,
  );
  if (!operations) throw new Error(`The access contract does not name ${object}.`);
  const outcome = (of: string) => operations.get(of)?.get(role) ?? "-";
  if (["call", "delete", "truncate"].includes(operation)) return outcome(operation) !== "-";
  const columns = outcome(`${operation} columns`);
  return columns === "all" || (column !== undefined && columns.split(", ").includes(column));
}

/** As in contract.ts: all months of a partitioned table are the same object. */
const MONTH = /_\d{4}_\d{2}$/;
