import pg from "pg";
import { closeAuditBlocks } from "../../src/jobs/close-audit-blocks.ts";

/*
 * A process that closes blocks of the audit logs, for a test that kills it: it kills itself with SIGKILL right after the statement
 * that closed a block, before the transaction commits.
 */
const client = new pg.Client(process.argv[2]);
await client.connect();
await client.query("begin");
await closeAuditBlocks({
  signal: new AbortController().signal,
  async query(sql, values) {
    await client.query(sql, values);
    process.kill(process.pid, "SIGKILL");
    return [];
  },
});
