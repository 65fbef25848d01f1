import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { registerUser } from "../support/accounts.ts";
import {
  createTestDatabase,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
  withClient,
} from "../support/database.ts";

let db: TestDatabase;
let users: string[];
beforeAll(async () => {
  db = await createTestDatabase();
  users = [];
  for (let i = 0; i < 12; i++) users.push(await registerUser(db, `user${i}`));
});
afterAll(async () => {
  await db.drop();
});

interface Attempt {
  readonly user?: string | null;
  readonly name?: string;
  readonly from: string;
  readonly status?: "success" | "failed" | "locked";
  /** Seconds ago. */
  readonly ago?: number;
}

async function attempt(
  tx: Transaction,
  { user = null, name = "x", from, status = "failed", ago = 30 }: Attempt,
) {
  await tx.rows(
    `insert into security.login_attempts (user_id, email, ip_address, status, created_at)
     values ($1, $2, $3, $4, now() - make_interval(secs => $5))`,
    [user, name, from, status, ago],
  );
}

const detect = async (tx: Transaction): Promise<number> => {
  await tx.asWorker();
  const [row] = await tx.rows<{ n: number }>("select private.detect_suspicious_activity() as n");
  await tx.asOwner();
  return row!.n;
};

const reports = (tx: Transaction) =>
  tx.rows<{ user_id: string | null; severity: string; data: Record<string, unknown> }>(
    `select user_id, severity, event_data as data from security.security_audit_log
     where event_type = 'suspicious_activity' order by event_data ->> 'rule'`,
  );

const tune = (tx: Transaction, rule: string, set: string) =>
  tx.rows(`update security.suspicious_activity_rules set ${set} where rule_name = $1`, [rule]);

describe("the detection of suspicious activity [A6, A15]", () => {
  test("reports many accounts signed in from one address", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tune(tx, "many_accounts_from_one_address", "threshold = 12");
      // The same customer's IPv6 network, whatever the address; the last minute of the hour still counts.
      for (const [i, user] of users.slice(0, 11).entries())
        await attempt(tx, { user, from: `2001:db8:1:2::${i}`, status: "success", ago: 300 * i + 30 });
      await attempt(tx, { user: users[0]!, from: "2001:db8:1:2::ff", status: "success" });
      expect(await detect(tx)).toBe(0);
      await attempt(tx, { user: users[11]!, from: "2001:db8:1:2::fe", status: "success" });
      expect(await detect(tx)).toBe(1);
      expect(await reports(tx)).toEqual([
        {
          user_id: null,
          severity: "warning",
          data: expect.objectContaining({
            rule: "many_accounts_from_one_address",
            subject: "2001:db8:1::/56",
            observed: 12,
            accounts: 12,
            threshold: 12,
          }),
        },
      ]);
    });
  });

  test("reports password spraying from one address against existing and unknown accounts, with successes as evidence", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      for (const user of users.slice(0, 9)) await attempt(tx, { user, from: "192.0.2.1" });
      for (let i = 0; i < 10; i++)
        await attempt(tx, { name: `nobody${i}`, from: "192.0.2.1", status: "locked" });
      for (let i = 0; i < 50; i++) await attempt(tx, { user: users[0]!, from: "192.0.2.1" });
      await attempt(tx, { user: users[10]!, from: "192.0.2.1", status: "success" });
      await attempt(tx, { name: "late", from: "192.0.2.1", ago: 1_000 });
      await attempt(tx, { name: "elsewhere", from: "192.0.2.2" });
      expect(await detect(tx)).toBe(0);
      await attempt(tx, { name: "the twentieth", from: "192.0.2.1" });
      expect(await detect(tx)).toBe(1);
      expect(await reports(tx)).toEqual([
        {
          user_id: null,
          severity: "error",
          data: expect.objectContaining({
            rule: "password_spraying",
            subject: "192.0.2.1/32",
            failed_accounts: 20,
            failed_attempts: 70,
            signed_in_user_ids: [users[10]],
          }),
        },
      ]);
    });
  });

  test("reports one account from many networks but not from neighboring addresses", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      for (let i = 0; i < 7; i++) await attempt(tx, { user: users[0]!, from: `10.${i}.0.1` });
      for (let i = 0; i < 20; i++) await attempt(tx, { user: users[0]!, from: `10.1.${i}.9` });
      expect(await detect(tx)).toBe(0);
      await attempt(tx, { user: users[0]!, from: "10.99.0.1" });
      expect(await detect(tx)).toBe(1);
      expect(await reports(tx)).toEqual([
        {
          user_id: users[0],
          severity: "warning",
          data: expect.objectContaining({
            rule: "one_account_from_many_addresses",
            networks: 8,
            attempts: 28,
            succeeded: 0,
          }),
        },
      ]);
    });
  });

  test("reports a fast change of network between two sign-ins or within one session", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await attempt(tx, { user: users[0]!, from: "10.1.0.1", status: "success", ago: 500 });
      await attempt(tx, { user: users[0]!, from: "10.1.200.1", status: "success", ago: 60 });
      await attempt(tx, { user: users[1]!, from: "10.1.0.1", status: "success", ago: 800 });
      await attempt(tx, { user: users[1]!, from: "10.2.0.1", status: "success", ago: 60 });
      await attempt(tx, { user: users[2]!, from: "10.1.0.1", status: "failed", ago: 50 });
      await attempt(tx, { user: users[2]!, from: "10.2.0.1", status: "success", ago: 40 });
      expect(await detect(tx)).toBe(0);
      await attempt(tx, { user: users[3]!, from: "10.1.0.1", status: "success", ago: 500 });
      await attempt(tx, { user: users[3]!, from: "2001:db8::1", status: "success", ago: 60 });
      expect(await detect(tx)).toBe(1);

      const [session] = await tx.rows<{ id: string }>(
        `insert into identity.user_sessions (user_id, ip_address, last_activity_at)
         values ($1, '10.5.0.1', now() - interval '3 minutes') returning id`,
        [users[4]],
      );
      const move = (to: string) =>
        tx.rows("update identity.user_sessions set ip_address = $2, last_activity_at = now() where id = $1", [
          session!.id,
          to,
        ]);
      await move("10.5.77.1");
      expect(await detect(tx)).toBe(0);
      await move("10.6.0.1");
      expect(await detect(tx)).toBe(1);
      expect((await reports(tx)).map(({ user_id, data }) => [user_id, data.rule, data.networks])).toEqual(
        expect.arrayContaining([
          [users[3], "fast_network_change", ["10.1.0.0/16", "2001:db8::/32"]],
          [users[4], "fast_network_change", ["10.5.0.0/16", "10.6.0.0/16"]],
        ]),
      );
    });
  });

  test("reports token reuse for the account", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.rows("select private.record_security_event('refresh_token_reused', $1, $2, 'critical')", [
        users[0],
        { session_id: users[1] },
      ]);
      expect(await detect(tx)).toBe(1);
      expect(await reports(tx)).toEqual([
        {
          user_id: users[0],
          severity: "critical",
          data: expect.objectContaining({ rule: "token_reuse", session_ids: [users[1]] }),
        },
      ]);
    });
  });

  test("ignores a disabled rule and reads thresholds and severities from data", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      for (let i = 0; i < 5; i++) await attempt(tx, { name: `n${i}`, from: "192.0.2.1" });
      await tune(tx, "password_spraying", "threshold = 5, severity = 'critical', is_enabled = false");
      expect(await detect(tx)).toBe(0);
      await tune(tx, "password_spraying", "is_enabled = true");
      expect(await detect(tx)).toBe(1);
      expect((await reports(tx))[0]!.severity).toBe("critical");
    });
  });

  test("reports a subject once per window, however often the job runs, and again when it continues", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tune(tx, "password_spraying", "threshold = 5");
      for (let i = 0; i < 5; i++) await attempt(tx, { name: `n${i}`, from: "192.0.2.1" });
      expect(await detect(tx)).toBe(1);
      expect(await detect(tx)).toBe(0);
      await attempt(tx, { name: "more", from: "192.0.2.1" });
      expect(await detect(tx)).toBe(0);
      for (let i = 0; i < 5; i++) await attempt(tx, { name: `n${i}`, from: "192.0.2.2" });
      expect(await detect(tx)).toBe(1);
      // As if the first reports were of an earlier window.
      await tx.rows(
        `update security.security_audit_log set event_data = event_data || jsonb_build_object(
           'window_start', now() - interval '40 minutes', 'window_end', now() - interval '25 minutes')
         where event_type = 'suspicious_activity'`,
      );
      expect(await detect(tx)).toBe(2);
    });
  });

  test("catches up on at most one day after a worker's absence", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tune(tx, "password_spraying", "threshold = 5");
      for (let i = 0; i < 5; i++) await attempt(tx, { name: `n${i}`, from: "192.0.2.1", ago: 7_200 });
      expect(await detect(tx)).toBe(0);
      await tx.asWorker();
      expect(
        await tx.rows("select private.detect_suspicious_activity(now() - interval '3 hours') as n"),
      ).toEqual([{ n: 1 }]);
      for (const since of ["null", "now() - interval '2 days'", "now() + interval '1 hour'", "'-infinity'"])
        await expect(
          tx.attempt(`select private.detect_suspicious_activity((${since})::timestamptz)`),
        ).rejects.toMatchObject({ code: "PL422" });
    });
  });

  test("reports once when it runs in parallel", async () => {
    await withClient(db.url("owner"), (client) =>
      client.query(
        `insert into security.login_attempts (email, ip_address, status)
         select 'parallel' || i, '198.51.100.7', 'failed' from generate_series(1, 30) i`,
      ),
    );
    const found = await Promise.all(
      Array.from({ length: 6 }, () =>
        withClient(db.url("worker"), async (client) => {
          const { rows } = await client.query("select private.detect_suspicious_activity() as n");
          return rows[0].n as number;
        }),
      ),
    );
    expect(found.reduce((sum, n) => sum + n, 0)).toBe(1);
  });
});
