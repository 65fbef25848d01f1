import type { SecondFactorChallenge, SessionState } from "plinth/client";
import { useState } from "preact/hooks";
import { submit } from "./hooks.ts";
import { notify, report } from "./notice.ts";
import { client } from "./plinth.ts";

const REASONS = {
  none: "",
  "signed-out": "You are signed out.",
  "other-tab": "You signed out in another tab.",
  ended: "Your session has ended. Sign in again.",
};

export function SignIn({ reason }: { reason: Extract<SessionState, { status: "signed-out" }>["reason"] }) {
  const [challenge, setChallenge] = useState<SecondFactorChallenge>();
  const enter = submit(async ({ action, identifier = "", password = "" }) => {
    notify("");
    if (action === "register") return client.auth.register({ username: identifier, password });
    const result = await client.auth.signIn({ identifier, password });
    if (result.status === "second-factor") setChallenge(result);
  });
  return (
    <main class="sign-in">
      <h1>Web chat</h1>
      <p role="status">{REASONS[reason]}</p>
      {challenge ? (
        <SecondFactor challenge={challenge} onCancel={() => setChallenge(undefined)} />
      ) : (
        <form onSubmit={enter}>
          <label>
            Username or email address
            <input name="identifier" autocomplete="username" required />
          </label>
          <label>
            Password
            <input name="password" type="password" autocomplete="current-password" required />
          </label>
          <div class="row">
            <button type="submit" name="action" value="sign-in">
              Sign in
            </button>
            <button type="submit" name="action" value="register" class="quiet">
              Create an account
            </button>
          </div>
        </form>
      )}
    </main>
  );
}

/** The password was right; the account has a second factor. */
function SecondFactor({ challenge, onCancel }: { challenge: SecondFactorChallenge; onCancel: () => void }) {
  const complete = submit(({ code = "" }) =>
    challenge.complete(/^\d{6}$/.test(code) ? { code } : { recoveryCode: code }),
  );
  return (
    <form onSubmit={complete}>
      <label>
        Code of your authenticator app, or a recovery code
        <input name="code" autocomplete="one-time-code" autofocus required />
      </label>
      <div class="row">
        <button type="submit">Continue</button>
        {challenge.methods.includes("passkey") && (
          <button type="button" onClick={() => challenge.complete({ passkey: true }).catch(report)}>
            Use a passkey
          </button>
        )}
        <button type="button" class="quiet" onClick={onCancel}>
          Back
        </button>
      </div>
    </form>
  );
}
