/** The costs of a request in the database, for the log line of a slow request. */
export class RequestCosts {
  /** Time spent waiting for a connection. */
  poolWaitMs = 0;
  /** Sum of the times of all statements; those of one moment overlap. */
  databaseMs = 0;
  statements = 0;
  rows = 0;
}
