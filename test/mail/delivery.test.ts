import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { type Logger, pino } from "pino";
import { generateMasterKey, parseMasterKeys } from "../../src/auth/master-keys.ts";
import { createSealer } from "../../src/auth/sealing.ts";
import { loadConfig } from "../../src/config/config.ts";
import { startWorker } from "../../src/jobs/index.ts";
import { type Delivery, sendEmails } from "../../src/jobs/send-emails.ts";
import type { MailerOptions } from "../../src/mail/mailer.ts";
import { createMailer } from "../../src/mail/mailer.ts";
import type { SmsMessage } from "../../src/mail/message.ts";
import { openMailer } from "../../src/mail/open-mailer.ts";
import { createSmtpTransport } from "../../src/mail/smtp-transport.ts";
import { registerUser } from "../support/accounts.ts";
import { until } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";
import { headerNames, headerOf, smtpError, startSmtpServer, type TestSmtpServer } from "../support/smtp.ts";

let db: TestDatabase;
let worker: pg.Pool;
let ada: string;
beforeAll(async () => {
  db = await createTestDatabase();
  worker = openPool();
  ada = await registerUser(db, "ada");
});
const servers: TestSmtpServer[] = [];
afterEach(async () => {
  await asOwner("delete from private.mail_outbox");
  for (const server of servers.splice(0)) await server.close();
});
afterAll(async () => {
  await worker.end();
  await db.drop();
});

/** Connections with the worker role. */
function openPool(): pg.Pool {
  const pool = new pg.Pool({ connectionString: db.url("worker"), max: 5 });
  // Dropping a database cuts connections that are just being closed.
  pool.on("error", () => {});
  return pool;
}

const MASTER_KEYS = generateMasterKey(1);
const sealer = createSealer(parseMasterKeys(MASTER_KEYS));
const asOwner = rowsAs("owner", () => db);
const query = async (sql: string, values: unknown[]) => (await worker.query(sql, values)).rows;

const smtp = async (...options: Parameters<typeof startSmtpServer>): Promise<TestSmtpServer> => {
  const server = await startSmtpServer(...options);
  servers.push(server);
  return server;
};

const queue = (
  template = "account-locked",
  to = "ada@example.org",
  variables: object = {},
  channel = "email",
) => asOwner("select private.queue_mail($1, $2, $3, $4, $5)", [ada, to, template, variables, channel]);

/** No test is about these limits, which a busy machine may exceed. */
const PATIENCE = "connectionTimeout=600000&greetingTimeout=600000&socketTimeout=600000";

/** Processes the outbox once, as the worker does. */
async function deliver(url: string, options: Partial<MailerOptions> = {}): Promise<Delivery> {
  const mailer = createMailer({
    transport: createSmtpTransport({ url: `${url}?${PATIENCE}`, from: "Plinthos <mail@plinthos.example>" }),
    sealer,
    sendSms: undefined,
    appName: "Plinthos",
    appUrl: "https://app.example.org",
    ...options,
  });
  try {
    return await sendEmails({ query, signal: new AbortController().signal, mailer });
  } finally {
    await mailer.close();
  }
}

const outbox = () =>
  asOwner<{ status: string; attempts: number; last_error: string | null; variables: object }>(
    "select status, attempts, last_error, variables from private.mail_outbox order by created_at, id",
  );
const dueNow = () => asOwner("update private.mail_outbox set next_attempt_at = now()");
const now = async () => (await asOwner<{ now: string }>("select clock_timestamp()::text as now"))[0]!.now;
/** The seconds from before an attempt until the next one, which is not due then, however long the test takes. */
async function waitSince(before: string): Promise<number> {
  const [row] = await asOwner<{ seconds: number }>(
    `update private.mail_outbox o set next_attempt_at = o.next_attempt_at + interval '1 day'
     returning extract(epoch from o.next_attempt_at - interval '1 day' - $1::timestamptz)::integer as seconds`,
    [before],
  );
  return row!.seconds;
}

describe("a mail server that accepts", () => {
  test("receives text and HTML, sender and recipient, and a token that appears nowhere else", async () => {
    const server = await smtp();
    const token = `plp_${"t".repeat(43)}`;
    await queue("password-reset", "ada@example.org", {
      display_name: "Ada <b>",
      sealed_token: sealer.seal("mail token", token),
    });
    expect(await deliver(server.url)).toEqual({ sent: 1, retried: 0, failed: 0 });
    const [mail] = server.received;
    expect(mail).toMatchObject({ from: "mail@plinthos.example", to: ["ada@example.org"] });
    expect(headerOf(mail!, "subject")).toBe("Set a new password for Plinthos");
    expect(headerOf(mail!, "content-type")).toMatch(/^multipart\/alternative/);
    expect(headerOf(mail!, "auto-submitted")).toBe("auto-generated");
    // Quoted-printable: soft line breaks and =XX.
    const body = mail!.source.replace(/=\r\n/g, "").replace(/=3D/g, "=");
    expect(body).toContain(`https://app.example.org/reset-password#token=${token}`);
    expect(body).toContain("Hello Ada &lt;b&gt;,");
    // After delivery, the sealed token is deleted as well.
    expect(await outbox()).toMatchObject([
      { status: "sent", attempts: 1, last_error: null, variables: { display_name: "Ada <b>" } },
    ]);
    expect(JSON.stringify(await outbox())).not.toContain("sealed_token");
  });

  test("receives no header from a user's input", async () => {
    const server = await smtp();
    await queue("mfa-changed", "ada@example.org", {
      display_name: "Ada\r\nBcc: evil@example.org\r\n\r\nHello",
    });
    await deliver(server.url, {
      appName: "Plinthos\r\nBcc: evil@example.org",
      templates: { "mfa-changed": ({ display_name }) => ({ subject: `For ${display_name}`, parts: ["x"] }) },
    });
    const [mail] = server.received;
    expect(mail!.to).toEqual(["ada@example.org"]);
    expect(headerNames(mail!)).not.toContain("bcc");
    expect(headerOf(mail!, "subject")).toBe("For Ada Bcc: evil@example.org Hello");
    // An address stays one address, whatever it contains.
    await queue("mfa-changed", "a@example.org,b@example.org");
    await deliver(server.url);
    expect(server.received.map(({ to }) => to.length).filter((count) => count > 1)).toEqual([]);
  });

  test("receives each mail once from many concurrent workers", async () => {
    const server = await smtp();
    for (let index = 0; index < 30; index++) await queue("account-locked", `user${index}@example.org`);
    const clients = Array.from({ length: 4 }, openPool);
    const mailer = createMailer({
      transport: createSmtpTransport({ url: `${server.url}?${PATIENCE}`, from: "a@example.org" }),
      sealer,
      sendSms: undefined,
      appName: "x",
      appUrl: "https://app.example.org",
    });
    const { signal } = new AbortController();
    await Promise.all(
      clients.map((client) =>
        sendEmails({
          query: async (sql, values) => (await client.query(sql, values)).rows,
          signal,
          mailer,
        }),
      ),
    );
    await mailer.close();
    await Promise.all(clients.map((client) => client.end()));
    expect(server.received.flatMap(({ to }) => to).sort()).toEqual(
      Array.from({ length: 30 }, (_, index) => `user${index}@example.org`).sort(),
    );
  });
});

describe("a mail server that rejects", () => {
  test("is retried after a temporary error (4xx), up to ten times with growing delays", async () => {
    let isDown = true;
    const server = await smtp({
      onMail() {
        if (isDown) throw smtpError(451, "try again later, dear ada@example.org");
      },
    });
    await queue();
    const first = await now();
    expect(await deliver(server.url)).toEqual({ sent: 0, retried: 1, failed: 0 });
    const [row] = await outbox();
    expect(row).toMatchObject({ status: "pending", attempts: 1, last_error: expect.stringContaining("451") });
    expect(row!.last_error).not.toContain("ada@example.org");
    expect(await waitSince(first)).toBeGreaterThan(20);
    expect(await deliver(server.url)).toEqual({ sent: 0, retried: 0, failed: 0 });
    await dueNow();
    const second = await now();
    await deliver(server.url);
    expect(await waitSince(second)).toBeGreaterThan(50);
    await dueNow();
    isDown = false;
    expect(await deliver(server.url)).toEqual({ sent: 1, retried: 0, failed: 0 });

    isDown = true;
    await queue();
    await asOwner("update private.mail_outbox set attempts = 9 where status = 'pending'");
    expect(await deliver(server.url)).toEqual({ sent: 0, retried: 0, failed: 1 });
  });

  test.each([
    [
      "the recipient",
      {
        onRcptTo: (_a: unknown, _s: unknown, done: (e: Error) => void) =>
          done(smtpError(550, "no such user")),
      },
    ],
    [
      "the sender",
      { onMailFrom: (_a: unknown, _s: unknown, done: (e: Error) => void) => done(smtpError(553, "not you")) },
    ],
    [
      "the content",
      {
        onMail: () => {
          throw smtpError(554, "spam");
        },
      },
    ],
  ])("is not retried after a permanent error (5xx) because of %s", async (_what, options) => {
    const server = await smtp(options as never);
    await queue("password-reset", "ada@example.org", { sealed_token: sealer.seal("mail token", "x") });
    expect(await deliver(server.url)).toEqual({ sent: 0, retried: 0, failed: 1 });
    expect(await outbox()).toMatchObject([
      { status: "failed", variables: {}, last_error: expect.stringContaining("55") },
    ]);
  });

  test("is retried after a wrong password, because that is not the mail's fault", async () => {
    const server = await smtp({
      authOptional: false,
      onAuth: (_auth, _session, done) => done(smtpError(535, "wrong password")),
    });
    await queue();
    expect(await deliver(server.url.replace("//", "//user:s3cret@"))).toEqual({
      sent: 0,
      retried: 1,
      failed: 0,
    });
    expect((await outbox())[0]!.last_error).not.toContain("s3cret");
  });

  test("loses no mail if it is unreachable", async () => {
    await queue();
    expect(await deliver("smtp://127.0.0.1:1")).toEqual({ sent: 0, retried: 1, failed: 0 });
    const server = await smtp();
    await dueNow();
    expect(await deliver(server.url)).toEqual({ sent: 1, retried: 0, failed: 0 });
  });

  test("receives the mail again with the same Message-ID and date if it cuts the connection after accepting it", async () => {
    const server = await smtp();
    await queue();
    const taken = await now();
    const emails = await query("select * from private.take_emails(5)", []);
    expect(emails).toHaveLength(1);
    const lease = await waitSince(taken);
    // The worker dies here: it has sent the mail and not recorded it.
    const transport = createSmtpTransport({
      url: `${server.url}?${PATIENCE}`,
      from: "mail@plinthos.example",
    });
    const mailer = createMailer({
      transport,
      sealer,
      sendSms: undefined,
      appName: "Plinthos",
      appUrl: "https://a.example",
    });
    await mailer.deliver(emails[0] as never);
    await mailer.close();
    // No worker takes the mail during the lease; afterwards one does.
    expect(await deliver(server.url)).toEqual({ sent: 0, retried: 0, failed: 0 });
    expect(lease).toBeGreaterThan(60);
    await dueNow();
    expect(await deliver(server.url)).toEqual({ sent: 1, retried: 0, failed: 0 });
    const [first, second] = server.received;
    expect(headerOf(first!, "message-id")).toMatch(/^<[0-9a-f-]{36}@plinthos\.example>$/);
    expect(headerOf(second!, "message-id")).toBe(headerOf(first!, "message-id"));
    expect(headerOf(second!, "date")).toBe(headerOf(first!, "date"));
  });

  test("loses no mail if it cuts the connection in the middle of one", async () => {
    let lines = 0;
    const cutter = createServer((socket) => {
      socket.on("error", () => {});
      socket.write("220 cutter\r\n");
      socket.on("data", (chunk) => {
        lines += 1;
        if (chunk.toString().startsWith("DATA")) socket.destroy();
        else socket.write("250 ok\r\n");
      });
    });
    await new Promise<void>((resolve) => cutter.listen(0, "127.0.0.1", resolve));
    const { port } = cutter.address() as AddressInfo;
    await queue();
    expect(await deliver(`smtp://127.0.0.1:${port}`)).toEqual({ sent: 0, retried: 1, failed: 0 });
    expect(lines).toBe(4); // EHLO, MAIL FROM, RCPT TO, DATA
    cutter.close();
    const server = await smtp();
    await dueNow();
    expect(await deliver(server.url)).toEqual({ sent: 1, retried: 0, failed: 0 });
  });
});

describe("a message that cannot be built", () => {
  test("waits for the master keys, and fails if its token was altered", async () => {
    const server = await smtp();
    const sealed = sealer.seal("mail token", "x");
    await queue("password-reset", "ada@example.org", { sealed_token: sealed });
    expect(await deliver(server.url, { sealer: undefined })).toEqual({ sent: 0, retried: 1, failed: 0 });
    const another = createSealer(parseMasterKeys(generateMasterKey(2)));
    await dueNow();
    expect(await deliver(server.url, { sealer: another })).toEqual({ sent: 0, retried: 1, failed: 0 });
    await dueNow();
    expect(await deliver(server.url)).toEqual({ sent: 1, retried: 0, failed: 0 });
    await queue("password-reset", "ada@example.org", { sealed_token: `${sealed.slice(0, -4)}AAAA` });
    expect(await deliver(server.url)).toEqual({ sent: 0, retried: 0, failed: 1 });
  });

  test("waits for a worker that knows its template; object members are not templates", async () => {
    const server = await smtp();
    await queue("of-tomorrow");
    await queue("constructor");
    expect(await deliver(server.url)).toEqual({ sent: 0, retried: 2, failed: 0 });
  });

  test("is not sent when it is too old to be useful", async () => {
    const server = await smtp();
    await asOwner("select private.queue_mail($1, 'a@example.org', 'password-reset', $2, 'email', now())", [
      ada,
      { sealed_token: sealer.seal("mail token", "x") },
    ]);
    expect(await deliver(server.url)).toEqual({ sent: 0, retried: 0, failed: 0 });
    expect(await outbox()).toMatchObject([{ status: "failed", variables: {} }]);
  });
});

describe("text messages", () => {
  test("are passed to the application's hook with the code, and wait if it has none", async () => {
    const heard: SmsMessage[] = [];
    await queue("phone-code", "+12025550101", { sealed_token: sealer.seal("mail token", "12345678") }, "sms");
    expect(await deliver("smtp://127.0.0.1:1")).toEqual({ sent: 0, retried: 1, failed: 0 });
    await dueNow();
    const sendSms = async (message: SmsMessage) => void heard.push(message);
    expect(await deliver("smtp://127.0.0.1:1", { sendSms })).toEqual({ sent: 1, retried: 0, failed: 0 });
    expect(heard).toEqual([
      {
        id: expect.any(String),
        to: "+12025550101",
        text: "Plinthos: 12345678 is your code, valid for 10 minutes. We will never ask you for it.",
      },
    ]);
  });
});

describe("the worker", () => {
  function collect(): { logger: Logger; lines: string[] } {
    const lines: string[] = [];
    const stream = new Writable({
      write(chunk: Buffer, _encoding, done) {
        lines.push(chunk.toString());
        done();
      },
    });
    return { logger: pino({ level: "debug", base: null }, stream), lines };
  }

  test("sends within seconds; without a mail server it writes files that only their owner can read and names them in the log", async () => {
    const folder = await mkdtemp(join(tmpdir(), "plinth-test-mail-"));
    const { logger, lines } = collect();
    const config = loadConfig({ PLINTH_DATA: folder, PLINTH_ROLE_PREFIX: db.rolePrefix });
    const mailer = openMailer({ config, masterKeys: MASTER_KEYS, isDevelopment: true, logger });
    const running = await startWorker({
      workerUrl: db.url("worker"),
      logger,
      mailer,
      pollingIntervalSeconds: 0.5,
    });
    try {
      const token = `plp_${"t".repeat(43)}`;
      await queue("password-reset", "ada@example.org", { sealed_token: sealer.seal("mail token", token) });
      await queue(
        "phone-code",
        "+12025550101",
        { sealed_token: sealer.seal("mail token", "12345678") },
        "sms",
      );
      await until(async () => (await outbox()).every(({ status }) => status === "sent"));
      const files = (await readdir(join(folder, "mail"))).map((name) => join(folder, "mail", name));
      expect(files.map((file) => file.slice(-3)).sort()).toEqual(["eml", "txt"]);
      for (const file of files) {
        expect((await stat(file)).mode & 0o777).toBe(0o600);
        expect(lines.join("")).toContain(file);
      }
      const eml = await readFile(files.find((file) => file.endsWith("eml"))!, "utf8");
      expect(eml.replace(/=\r?\n/g, "")).toContain(token);
      for (const secret of [token, "12345678", "ada@example.org"])
        expect(lines.join("")).not.toContain(secret);
    } finally {
      await running.close();
      await mailer.close();
      await rm(folder, { recursive: true });
    }
  });
});
