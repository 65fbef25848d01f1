import type { SecondFactorChallenge, SessionState } from "plinth/client";
import { useState } from "preact/hooks";
import { client } from "./client.ts";
import { useForm } from "./hooks.ts";

const REASONS = {
  none: "Sign in with an account that may operate this system.",
  "signed-out": "You are signed out.",
  "other-tab": "You signed out in another tab.",
  ended: "Your session has ended. Sign in again.",
};

const DEVICE = "Plinth console";

/** Browsers have passkeys only with HTTPS and on localhost. */
const HAS_PASSKEYS = "PublicKeyCredential" in globalThis;

export function SignIn({ reason }: { reason: Extract<SessionState, { status: "signed-out" }>["reason"] }) {
  const [challenge, setChallenge] = useState<SecondFactorChallenge>();
  return (
    <main class="sign-in">
      <h1>
        <span class="brand">Plinth</span> console
      </h1>
      {challenge ? (
        <SecondFactor challenge={challenge} onCancel={() => setChallenge(undefined)} />
      ) : (
        <Password reason={REASONS[reason]} onChallenge={setChallenge} />
      )}
    </main>
  );
}

function Password(props: { reason: string; onChallenge: (challenge: SecondFactorChallenge) => void }) {
  const form = useForm(async ({ identifier = "", password = "" }) => {
    const result = await client.auth.signIn({ identifier, password, deviceName: DEVICE });
    if (result.status === "second-factor") props.onChallenge(result);
  });
  return (
    <form onSubmit={form.onSubmit}>
      <p>{props.reason}</p>
      <label>
        Username or email address
        <input name="identifier" autocomplete="username" required autofocus />
      </label>
      <label>
        Password
        <input name="password" type="password" autocomplete="current-password" required />
      </label>
      <p class="problem" role="alert">
        {form.problem}
      </p>
      <div class="row">
        <button type="submit" class="primary" disabled={form.isBusy}>
          Sign in
        </button>
        {HAS_PASSKEYS && (
          <button
            type="button"
            disabled={form.isBusy}
            onClick={() => form.run(() => client.auth.signInWithPasskey({ deviceName: DEVICE }))}
          >
            Use a passkey
          </button>
        )}
      </div>
    </form>
  );
}

/** The password was right; the account has a second factor. */
function SecondFactor({ challenge, onCancel }: { challenge: SecondFactorChallenge; onCancel: () => void }) {
  const form = useForm(({ code = "" }) => {
    const digits = code.replace(/\s/g, "");
    return challenge.complete(/^\d{6}$/.test(digits) ? { code: digits } : { recoveryCode: code });
  });
  return (
    <form onSubmit={form.onSubmit}>
      <p>Your account requires a second factor.</p>
      <label>
        Code from your authenticator app, or a recovery code
        <input name="code" autocomplete="one-time-code" autofocus required />
      </label>
      <p class="problem" role="alert">
        {form.problem}
      </p>
      <div class="row">
        <button type="submit" class="primary" disabled={form.isBusy}>
          Continue
        </button>
        {HAS_PASSKEYS && challenge.methods.includes("passkey") && (
          <button
            type="button"
            disabled={form.isBusy}
            onClick={() => form.run(() => challenge.complete({ passkey: true }))}
          >
            Use a passkey
          </button>
        )}
        <button type="button" onClick={onCancel}>
          Back
        </button>
      </div>
    </form>
  );
}
