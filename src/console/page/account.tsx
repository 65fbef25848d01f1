import { useRef, useState } from "preact/hooks";
import { client } from "./client.ts";
import { formatAgo, formatDateTime, formatNumber } from "./formats.ts";
import { useForm } from "./hooks.ts";
import { type Account, END_SESSIONS, INSPECT, UNLOCK } from "./operations.ts";
import { Table } from "./table.tsx";

/** Names of RFC 8176. "mfa" only says that there is more than one. */
const METHODS: Readonly<Record<string, string>> = {
  pwd: "password",
  otp: "code",
  swk: "passkey",
  hwk: "passkey",
  fed: "identity provider",
};

const methodsOf = (methods: readonly (string | null)[] | null) =>
  methods
    ?.flatMap((method) => (method === null || method === "mfa" ? [] : (METHODS[method] ?? method)))
    .join(", ") || "unknown";

/** Finds one account. Each look and each action is recorded in the audit log by the database. */
export function Accounts() {
  const [account, setAccount] = useState<Account>();
  const [done, setDone] = useState("");
  const inspect = async (identifier: string): Promise<Account | undefined> => {
    const { inspectAccount } = await client.request(INSPECT, { identifier });
    const found = inspectAccount?.result ?? undefined;
    setAccount(found);
    return found;
  };
  const form = useForm(async ({ identifier = "" }) => {
    setDone("");
    // After an error, the former account would look like the one that was searched for.
    setAccount(undefined);
    if (!(await inspect(identifier))) setDone("There is no account with this name, address or id.");
  });
  const act = (work: () => Promise<string>) =>
    form.run(async () => {
      setDone("");
      setDone(await work());
      await inspect(account!.userId!);
    });
  return (
    <div class="accounts">
      <search>
        <form class="search" onSubmit={form.onSubmit}>
          <label>
            Username, email address or id of an account
            <input
              name="identifier"
              autocomplete="off"
              autocapitalize="none"
              spellcheck={false}
              required
              autofocus
            />
          </label>
          <button type="submit" class="primary" disabled={form.isBusy}>
            Find
          </button>
          <p class="note">Each search for an account is recorded in the audit log under your name.</p>
        </form>
      </search>
      <p class="problem" role="alert">
        {form.problem}
      </p>
      <p class="done" role="status">
        {done}
      </p>
      {account && <Found account={account} isBusy={form.isBusy} act={act} />}
    </div>
  );
}

function Found({
  account,
  isBusy,
  act,
}: {
  account: Account;
  isBusy: boolean;
  act: (work: () => Promise<string>) => void;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const { userId, username, canBeAdministered, lockedUntil } = account;
  const sessions = account.sessions?.filter((session) => session !== null) ?? [];
  const unlock = () =>
    act(async () => {
      await client.request(UNLOCK, { userId: userId! });
      return `${username} can sign in again.`;
    });
  const endSessions = () =>
    act(async () => {
      const { endUserSessions } = await client.request(END_SESSIONS, { userId: userId! });
      const ended = endUserSessions?.result ?? 0;
      return `Ended ${formatNumber(ended)} ${ended === 1 ? "session" : "sessions"} of ${username}.`;
    });
  return (
    <section class="panel account" aria-labelledby="account">
      <header>
        <h2 id="account">{username}</h2>
        <span class={`chip ${account.accountStatus === "active" ? "good" : "warning"}`}>
          {account.accountStatus}
        </span>
        {lockedUntil && <span class="chip critical">locked</span>}
      </header>
      <dl class="facts">
        <Fact name="Email address">
          {account.email ?? "not stored"}
          {account.email && (account.isVerified ? " (verified)" : " (not verified)")}
        </Fact>
        <Fact name="Id">
          <code>{userId}</code>
        </Fact>
        <Fact name="Roles">{account.roles?.join(", ") || "none"}</Fact>
        <Fact name="Second factor">{account.hasSecondFactor ? "yes" : "no"}</Fact>
        <Fact name="Wrong passwords">{formatNumber(account.failedLoginAttempts ?? 0)} in a row</Fact>
        {lockedUntil && <Fact name="Locked until">{formatDateTime(lockedUntil)}</Fact>}
        <Fact name="Last sign-in">{formatDateTime(account.lastLoginAt)}</Fact>
        <Fact name="Created">{formatDateTime(account.createdAt)}</Fact>
      </dl>
      <div class="row">
        <button type="button" disabled={isBusy || !canBeAdministered || !lockedUntil} onClick={unlock}>
          Unlock
        </button>
        <button
          type="button"
          class="danger"
          disabled={isBusy || !canBeAdministered || sessions.length === 0}
          onClick={() => dialog.current!.showModal()}
        >
          End all sessions
        </button>
        {!canBeAdministered && <p class="note">This account has permissions that you do not have.</p>}
      </div>
      <h3>Sessions</h3>
      {sessions.length === 0 ? (
        <p class="nothing">The account has no live session.</p>
      ) : (
        <Table
          label={`Sessions of ${username}`}
          columns={["Device", "Address", "Signed in with", "Signed in", "Last used", "Ends"]}
          rows={sessions.map((session) => [
            session.deviceName ?? "unknown",
            session.ipAddress ?? "hidden",
            methodsOf(session.authenticationMethods),
            formatDateTime(session.createdAt),
            formatAgo(session.lastActivityAt),
            formatDateTime(session.expiresAt),
          ])}
        />
      )}
      <dialog
        ref={dialog}
        aria-labelledby="confirm"
        onClose={() => {
          if (dialog.current!.returnValue === "end") endSessions();
          dialog.current!.returnValue = "";
        }}
      >
        <form method="dialog">
          <h2 id="confirm">End all sessions of {username}?</h2>
          <p>All devices and API tokens of the account stop working at once. Its owner can sign in again.</p>
          <div class="row">
            <button type="submit" value="end" class="danger">
              End sessions
            </button>
            <button type="submit" value="">
              Cancel
            </button>
          </div>
        </form>
      </dialog>
    </section>
  );
}

function Fact({ name, children }: { name: string; children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
